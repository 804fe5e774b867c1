"""Databases, aliases, names, properties, partition keys, segments; and that snapshots keep what they should of it."""

import time

from harness import (
    count,
    keys,
    plain,
    refused,
    restored,
    rows,
    run,
    same,
    small_collection,
    small_row,
    small_schema,
    url,
    vector_index,
)
from pymilvus import DataType, MilvusClient
from pymilvus.client.types import LoadState
from pymilvus.grpc_gen import milvus_pb2

MODES = ("clone", "copy")


class Mode:
    """A client that says in the metadata of its restores how they get their files."""

    def __init__(self, mode):
        self.client = MilvusClient(url(), timeout=30)
        self.mode = mode

    def restore(self, snapshot, source, target, source_db="", target_db=""):
        stub = self.client._get_connection()._stub
        request = milvus_pb2.RestoreSnapshotRequest(
            name=snapshot, collection_name=source, target_collection_name=target, db_name=source_db, target_db_name=target_db
        )
        answer = stub.RestoreSnapshot(request, timeout=30, metadata=(("elanus-restore-mode", self.mode),))
        assert answer.status.code == 0, answer
        restored(self.client, answer.job_id)


def restore_in_both_modes(snapshot, source, **databases):
    """The names of two new collections."""
    for mode in MODES:
        Mode(mode).restore(snapshot, source, f"{source}_{mode}", **databases)
    return [f"{source}_{mode}" for mode in MODES]


DEFINITION = (
    "fields", "description", "num_shards", "consistency_level", "properties", "enable_dynamic_field", "num_partitions",
    "auto_id", "functions",
)


def same_definition(found, expected):
    for what in DEFINITION:
        same(found.get(what), expected.get(what), what)


def databases(client):
    same(client.list_databases(), ["default"])
    client.create_database("shop", properties={"database.replica.number": 1})
    same(client.list_databases(), ["default", "shop"])
    described = client.describe_database("shop")
    same((described["name"], described["database.replica.number"]), ("shop", "1"))
    with refused(65535, "database already exist: shop"):
        client.create_database("shop")
    client.alter_database_properties("shop", {"database.max.collections": 2, "mine": "x"})
    client.drop_database_properties("shop", ["database.replica.number", "absent"])
    described = client.describe_database("shop")
    same((described["database.max.collections"], described["mine"], "database.replica.number" in described),
         ("2", "x", False))

    for name in ("1st", "a-b", "x" * 256, "a$"):
        with refused(802, "invalid database name"):
            client.create_database(name)
    with refused(65535, "can not drop default database"):
        client.drop_database("default")
    for call in (client.drop_database, client.describe_database):
        with refused(800, "database not found[database=nowhere]"):
            call("nowhere")
    with refused(10, "database.force.deny.writing"):
        client.alter_database_properties("shop", {"database.force.deny.writing": "true"})
    with refused(1100, "database.max.collections"):
        client.alter_database_properties("shop", {"database.max.collections": "many"})
    same(client.describe_database("shop"), described)

    shop = MilvusClient(url(), db_name="shop", timeout=30)
    for name in ("a", "b"):
        small_collection(shop, name, keys=())
    with refused(102, "exceeded the limit number of collections[limit=2]"):
        small_collection(shop, "c", keys=())
    with refused(65535, "database:shop not empty, must drop all collections"):
        client.drop_database("shop")
    same((shop.list_collections(), client.list_collections()), (["a", "b"], []))
    for name in ("a", "b"):
        shop.drop_collection(name)
    client.drop_database("shop")
    same(client.list_databases(), ["default"])
    with refused(800):
        shop.list_collections()
    shop.close()


def one_connection_serves_several_databases(client):
    client.create_database("east")
    client.create_database("west")
    clients = {name: MilvusClient(url(), db_name=name, timeout=30) for name in ("default", "east", "west")}
    for number, (name, one) in enumerate(clients.items()):
        small_collection(one, "books", keys=range(number, number + 3))
    for number, (name, one) in enumerate(clients.items()):
        same(keys(rows(one, "books")), list(range(number, number + 3)), name)
        same(one.describe_collection("books")["collection_name"], "books")
        one.create_snapshot("s", "books", description=name)
    same(len({one.describe_collection("books")["collection_id"] for one in clients.values()}), 3)

    clients["east"].delete("books", ids=[1])
    clients["west"].insert("books", [small_row(77)])
    clients["east"].create_snapshot("second", "books")
    same([keys(rows(one, "books")) for one in clients.values()], [[0, 1, 2], [2, 3], [2, 3, 4, 77]])
    same([one.list_snapshots("books") for one in clients.values()], [["s"], ["s", "second"], ["s"]])
    clients["east"].drop_collection("books")
    same([one.has_collection("books") for one in clients.values()], [True, False, True])

    # A client that changes its database, as users do it.
    client.use_database("west")
    same(keys(rows(client, "books")), [2, 3, 4, 77])
    client.use_database("default")
    same(keys(rows(client, "books")), [0, 1, 2])
    clients["west"].drop_collection("books")
    client.drop_collection("books")
    for name in ("east", "west"):
        client.drop_database(name)


def a_restore_into_another_database(client):
    client.create_database("archive")
    archive = MilvusClient(url(), db_name="archive", timeout=30)
    name = small_collection(client, "docs")
    client.create_snapshot("then", name)
    definition, held = client.describe_collection(name), rows(client, name)
    client.delete(name, ids=[1, 2])

    # Under the source's name, through pymilvus.
    job = restored(client, client.restore_snapshot("then", name, name, target_db_name="archive"))
    same((job.db_name, job.collection_name), ("archive", name))
    same([found.job_id for found in archive.list_restore_snapshot_jobs()], [job.job_id])
    same([found for found in client.list_restore_snapshot_jobs() if found.job_id == job.job_id], [])
    for target in [name, *restore_in_both_modes("then", name, target_db="archive")]:
        archive.load_collection(target)
        same(rows(archive, target), held, target)
        same_definition(archive.describe_collection(target), definition)
        same(client.has_collection(target), target == name)
    same(keys(rows(client, name)), [0, 3, 4, 5, 6, 7, 8, 9])

    # Without a target the default database is meant, also by a client of another one.
    archive.create_snapshot("again", name)
    restored(archive, archive.restore_snapshot("again", name, "from_archive"))
    same((client.has_collection("from_archive"), archive.has_collection("from_archive")), (True, False))
    with refused(800, "database not found[database=nowhere]"):
        client.restore_snapshot("then", name, "x", target_db_name="nowhere")
    for one in (client, archive):
        for left in one.list_collections():
            one.drop_collection(left)
    client.drop_database("archive")
    archive.close()


def aliases(client):
    old, new = small_collection(client, "v1"), small_collection(client, "v2", keys=range(100, 103))
    client.create_alias(old, "live")
    client.create_alias(old, "live")
    same(client.describe_alias("live"), {"alias": "live", "collection_name": old, "db_name": "default"})
    same(sorted(client.list_aliases(old)["aliases"]), ["live"])
    same(client.describe_collection("live")["collection_name"], old)
    same(client.describe_collection(old)["aliases"], ["live"])
    assert client.has_collection("live")

    # Wherever a collection is named.
    client.insert("live", [small_row(10)])
    client.upsert("live", [small_row(0, "changed")])
    client.delete("live", ids=[1])
    client.flush("live")
    same(keys(rows(client, "live")), keys(rows(client, old)))
    same(count(client, "live"), 10)
    same(client.search("live", [[3.0, 0.5, -1.0, 2.0]], limit=1)[0][0]["id"], 3)
    same(client.get_collection_stats("live"), client.get_collection_stats(old))
    client.create_partition("live", "p")
    same(sorted(client.list_partitions(old)), ["_default", "p"])
    client.release_collection("live")
    same(client.get_load_state(old)["state"], LoadState.NotLoad)
    client.load_collection("live")
    same(client.list_indexes("live"), client.list_indexes(old))

    # Snapshots too; a restore neither takes an alias for its target nor brings aliases back.
    client.create_snapshot("s", "live")
    same(client.list_snapshots(old), ["s"])
    same(client.describe_snapshot("s", "live").collection_name, old)
    client.unpin_snapshot_data(client.pin_snapshot_data("s", "live", ttl_seconds=60))
    with refused(1601, "alias and collection name conflict[database=default][alias=live]"):
        client.restore_snapshot("s", old, "live")
    held = rows(client, old)
    client.alter_alias(new, "live")
    same(keys(rows(client, "live")), [100, 101, 102])
    for target in restore_in_both_modes("s", old):
        client.load_collection(target)
        same((rows(client, target), client.describe_collection(target)["aliases"]), (held, []), target)
        client.drop_collection(target)
    client.drop_snapshot("s", old)

    with refused(1601, "alias and collection name conflict"):
        client.create_alias(new, old)
    with refused(1602, "live is alias to another collection: v2: alias already exist[database=default][alias=live]"):
        client.create_alias(old, "live")
    with refused(1601, "collection name [live] conflicts with an existing alias"):
        client.create_collection("live", schema=small_schema())
    with refused(1600, "alias not found[database=default][alias=absent]"):
        client.alter_alias(old, "absent")
    with refused(1600, "alias not found"):
        client.describe_alias("absent")
    with refused(100):
        client.create_alias("absent", "x")
    for name in ("1st", "a-b", "x" * 256):
        with refused(1100, "Invalid collection alias"):
            client.create_alias(old, name)
    with refused(65535, "unable to drop the collection [v2] because it has associated aliases [live]"):
        client.drop_collection(new)
    with refused(65535, "cannot drop the collection via alias = live"):
        client.drop_collection("live")
    same(client.list_aliases(new)["aliases"], ["live"])
    client.drop_alias("live")
    client.drop_alias("live")
    assert not client.has_collection("live")
    client.drop_collection(old)
    client.drop_collection(new)


def rename(client):
    client.create_database("attic")
    attic = MilvusClient(url(), db_name="attic", timeout=30)
    name, other = small_collection(client, "before"), small_collection(client, "other")
    client.create_alias(other, "alias")
    client.create_snapshot("s", name)
    definition, held = client.describe_collection(name), rows(client, name)

    with refused(65535, "duplicated new collection name default:other"):
        client.rename_collection(name, other)
    with refused(1601, "duplicated new collection name default:alias"):
        client.rename_collection(name, "alias")
    with refused(65535, "unsupported use an alias to rename collection, alias:alias"):
        client.rename_collection("alias", "x")
    with refused(1100, "collection name or database name should be different"):
        client.rename_collection(name, name)
    with refused(100):
        client.rename_collection("absent", "x")
    with refused(800):
        client.rename_collection(name, "x", target_db="nowhere")
    with refused(65535, "associated aliases [alias]"):
        client.rename_collection(other, other, target_db="attic")
    for bad in ("1st", "a-b", "x" * 256):
        with refused(1100, "Invalid collection name"):
            client.rename_collection(name, bad)
    same(sorted(client.list_collections()), ["before", "other"])

    client.rename_collection(name, "after")
    same((client.has_collection(name), rows(client, "after")), (False, held))
    same(client.describe_collection("after")["collection_id"], definition["collection_id"])
    # The name is another collection's now; who knew the old one writes into the new one, or is told.
    small_collection(client, name, keys=())
    client.insert(name, [small_row(1)])
    same(keys(rows(client, name)), [1])
    client.rename_collection("after", "moved", target_db="attic")
    same((client.has_collection("after"), rows(attic, "moved")), (False, held))
    same(attic.list_snapshots("moved"), ["s"])
    restored(attic, attic.restore_snapshot("s", "moved", "back", target_db_name="attic"))
    same_definition(attic.describe_collection("back"), definition)
    attic.insert("moved", [small_row(11)])
    same(len(rows(attic, "moved")), 11)
    client.drop_alias("alias")
    for left in (name, other):
        client.drop_collection(left)
    for left in ("moved", "back"):
        attic.drop_collection(left)
    client.drop_database("attic")
    attic.close()


def properties_are_those_of_the_snapshot(client):
    schema = small_schema(description="as it was")
    name = "settings"
    client.create_collection(
        name, schema=schema, index_params=vector_index(), consistency_level="Session", num_shards=2,
        properties={"collection.ttl.seconds": 86400, "mmap.enabled": True},
    )
    client.insert(name, [small_row(key) for key in range(5)])
    definition, index = client.describe_collection(name), client.describe_index(name, "vector")
    same((definition["properties"]["collection.ttl.seconds"], definition["consistency_level"]), ("86400", 1))
    client.create_snapshot("then", name)

    client.alter_collection_properties(name, {"collection.ttl.seconds": 60, "mine": "new", "consistency_level": "Strong"})
    client.drop_collection_properties(name, ["mmap.enabled", "absent"])
    client.alter_collection_properties(name, {"collection.description": "as it is"})
    client.alter_collection_field(name, "text", {"max_length": 200, "mmap.enabled": True})
    client.alter_index_properties(name, "vector", {"mmap.enabled": True})
    altered = client.describe_collection(name)
    same({key: altered["properties"].get(key) for key in ("collection.ttl.seconds", "mine", "mmap.enabled")},
         {"collection.ttl.seconds": "60", "mine": "new", "mmap.enabled": None})
    same((altered["consistency_level"], altered["description"]), (0, "as it is"))
    text = next(field for field in altered["fields"] if field["name"] == "text")
    same(str(text["params"]["max_length"]), "200")
    same(client.describe_index(name, "vector")["mmap.enabled"], "True")
    client.insert(name, [small_row(5, "x" * 150)])

    for bad, code, fragment in (
        ({"collection.ttl.seconds": -2}, 1100, "collection TTL is out of range"),
        ({"collection.ttl.seconds": "soon"}, 1100, "collection TTL is not a valid positive integer"),
        ({"mmap.enabled": "perhaps"}, 1100, "mmap.enabled"),
        ({"partitionkey.isolation": True}, 1100, "no partition key field"),
        ({"consistency_level": "Certain"}, 1100, "unknown consistency level"),
    ):
        with refused(code, fragment):
            client.alter_collection_properties(name, bad)
    for field, bad, fragment in (
        ("text", {"max_length": 0}, "should be in (0, 65535]"),
        ("text", {"dim": 8}, "dim does not allow update"),
        ("id", {"max_length": 8}, "can not modify the maxlength"),
        ("absent", {"max_length": 8}, "field absent does not exist"),
    ):
        with refused(1100, fragment):
            client.alter_collection_field(name, field, bad)
    with refused(1100, "not configable"):
        client.alter_index_properties(name, "vector", {"M": 3})
    same_definition(client.describe_collection(name), altered)

    for target in restore_in_both_modes("then", name):
        same_definition(client.describe_collection(target), definition)
        same(client.describe_index(target, "vector"), index)
        client.load_collection(target)
        same(len(rows(client, target)), 5)
        client.drop_collection(target)
    client.drop_collection(name)


def every_level_reads_what_was_written(client):
    for level in ("Strong", "Session", "Bounded", "Eventually"):
        name = small_collection(client, f"level_{level}", keys=(), consistency_level=level)
        for key in range(5):
            client.insert(name, [small_row(key)])
            same(count(client, name), key + 1, level)
            same(count(client, name, consistency_level="Strong"), key + 1, level)
        same(client.search(name, [[4.0, 0.5, -1.0, 2.0]], limit=1, consistency_level="Eventually")[0][0]["id"], 4)
        client.drop_collection(name)


def keyed_schema():
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
    schema.add_field("year", DataType.INT32, is_clustering_key=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    return schema


def keyed_row(key, tenant=None):
    return {"id": key, "tenant": tenant or f"t{key % 10}", "year": 2000 + key % 5, "vector": [float(key), 1.0]}


def a_partition_key_places_rows(client):
    name = "keyed"
    client.create_collection(name, schema=keyed_schema(), index_params=vector_index("IP"), num_partitions=7)
    definition = client.describe_collection(name)
    same(definition["num_partitions"], 7)
    marks = {field["name"]: (field.get("is_partition_key", False), field.get("is_clustering_key", False))
             for field in definition["fields"]}
    same(marks, {"id": (False, False), "tenant": (True, False), "year": (False, True), "vector": (False, False)})
    partitions = [f"_default_{number}" for number in range(7)]
    same(sorted(client.list_partitions(name)), partitions)

    client.insert(name, [keyed_row(key) for key in range(100)])
    client.upsert(name, [keyed_row(key, "moved") for key in range(5)])
    client.delete(name, filter='tenant == "t9"')
    client.flush(name)
    expected = [keyed_row(key, "moved") for key in range(5)] + [keyed_row(key) for key in range(5, 100) if key % 10 != 9]
    same(rows_of(client, name), expected)
    for tenant in ("moved", "t0", "t9"):
        filter = f'tenant == "{tenant}"'
        same(rows_of(client, name, filter), [row for row in expected if row["tenant"] == tenant], tenant)
        hits = client.search(name, [[1.0, 0.0]], limit=3, filter=filter, output_fields=["tenant"])[0]
        assert all(hit["entity"]["tenant"] == tenant for hit in hits), hits
    per_partition = [client.get_partition_stats(name, partition)["row_count"] for partition in partitions]
    assert sum(per_partition) == 105 and sum(number > 0 for number in per_partition) > 1, per_partition

    client.create_snapshot("s", name)
    client.upsert(name, [keyed_row(key, "later") for key in range(50)])
    for target in restore_in_both_modes("s", name):
        same_definition(client.describe_collection(target), definition)
        same(sorted(client.list_partitions(target)), partitions)
        client.load_collection(target)
        same(rows_of(client, target), expected)
        # Rows that come later find those that were there.
        client.upsert(target, [keyed_row(key, "new") for key in range(100)])
        same(rows_of(client, target), [keyed_row(key, "new") for key in range(100)])
        client.drop_collection(target)

    by_name = "not support manually specifying the partition names if partition key mode is used"
    for call, fragment in (
        (lambda: client.insert(name, [keyed_row(1)], partition_name="_default_0"), by_name),
        (lambda: client.upsert(name, [keyed_row(1)], partition_name="_default_0"), by_name),
        (lambda: client.delete(name, ids=[1], partition_name="_default_0"), by_name),
        (lambda: client.query(name, filter="id > 0", partition_names=["_default_0"]), by_name),
        (lambda: client.search(name, [[1.0, 0.0]], limit=1, partition_names=["_default_0"]), by_name),
        (lambda: client.create_partition(name, "mine"), "disable create partition"),
        (lambda: client.drop_partition(name, "_default_0"), "disable drop partition"),
        (lambda: client.load_partitions(name, ["_default_0"]), "disable load partition"),
        (lambda: client.release_partitions(name, ["_default_0"]), "disable release partition"),
    ):
        with refused(1100, fragment):
            call()
    client.drop_collection(name)

    client.create_collection(name, schema=keyed_schema())
    same(client.describe_collection(name)["num_partitions"], 16)
    client.drop_collection(name)
    with refused(1100, "partition number (1025) exceeds max configuration (1024)"):
        client.create_collection(name, schema=keyed_schema(), num_partitions=1025)
    with refused(1100, "num_partitions should only be specified with partition key"):
        client.create_collection(name, schema=small_schema(), num_partitions=4)


def rows_of(client, name, filter="id >= 0"):
    found = client.query(name, filter=filter, output_fields=["*"])
    return sorted((plain(dict(row)) for row in found), key=lambda row: row["id"])


def partitions_load_one_by_one(client):
    name = small_collection(client, "parts", keys=())
    for partition in ("p", "q"):
        client.create_partition(name, partition)
        client.insert(name, [small_row(1 if partition == "p" else 2)], partition_name=partition)
    assert client.has_partition(name, "p") and not client.has_partition(name, "r")
    same([client.get_partition_stats(name, one)["row_count"] for one in ("_default", "p", "q")], [0, 1, 1])
    client.release_collection(name)
    client.load_partitions(name, ["p"])
    same(client.get_load_state(name, "p")["state"], LoadState.Loaded)
    same(client.get_load_state(name, "q")["state"], LoadState.NotLoad)
    same(keys(rows(client, name)), [1])
    with refused(201, "partition not loaded[partition=q]"):
        client.query(name, filter="id > 0", partition_names=["q"])
    client.load_partitions(name, ["q"])
    same(keys(rows(client, name)), [1, 2])
    client.release_partitions(name, ["p"])
    same(keys(rows(client, name)), [2])
    with refused(200, "partition not found[partition=r]"):
        client.load_partitions(name, ["r"])
    client.drop_collection(name)


def segments_tell_their_rows(client):
    name = small_collection(client, "segments", keys=range(30), num_shards=2)
    same(client.list_persistent_segments(name), [])
    client.flush(name)
    client.insert(name, [small_row(100)])
    persistent = client.list_persistent_segments(name)
    same(sum(segment.num_rows for segment in persistent), 30)
    loaded = client.list_loaded_segments(name)
    same(sum(segment.num_rows for segment in loaded), 31)
    assert {segment.segment_id for segment in persistent} <= {segment.segment_id for segment in loaded}
    client.create_snapshot("s", name)
    for target in restore_in_both_modes("s", name):
        same(sum(segment.num_rows for segment in client.list_persistent_segments(target)), 31)
        with refused(101, "collection not loaded"):
            client.list_loaded_segments(target)
        client.drop_collection(target)
    client.drop_collection(name)
    with refused(100):
        client.list_persistent_segments(name)


def counts_are_exact(client):
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=30, auto_id=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("given", schema=schema, index_params=vector_index())
    inserted = client.insert("given", [{"vector": [1.0, float(key)]} for key in range(20)])
    same((inserted["insert_count"], len(set(inserted["ids"]))), (20, 20))
    assert all(isinstance(key, str) for key in inserted["ids"])
    same(client.delete("given", ids=inserted["ids"][:3])["delete_count"], 3)
    same(count(client, "given"), 17)
    same(client.get_collection_stats("given")["row_count"], 20)
    described = client.describe_index("given", "vector")
    same((described["total_rows"], described["indexed_rows"], described["pending_index_rows"]), (20, 20, 0))
    client.create_snapshot("s", "given")
    for target in restore_in_both_modes("s", "given"):
        client.load_collection(target)
        more = client.insert(target, [{"vector": [0.0, 0.0]}])["ids"]
        assert not set(more) & set(inserted["ids"])
        same(count(client, target), 18)
        client.drop_collection(target)
    client.drop_collection("given")


def nothing_is_left(client):
    same((client.list_collections(), client.list_databases()), ([], ["default"]))
    started = time.monotonic()
    client.drop_alias("absent")
    assert time.monotonic() - started < 5


run(
    databases,
    one_connection_serves_several_databases,
    a_restore_into_another_database,
    aliases,
    rename,
    properties_are_those_of_the_snapshot,
    every_level_reads_what_was_written,
    a_partition_key_places_rows,
    partitions_load_one_by_one,
    segments_tell_their_rows,
    counts_are_exact,
    nothing_is_left,
)
