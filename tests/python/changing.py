"""What users change of a collection that is there: a time to live, some columns of some rows, fields that come and go, the dynamic
field, all rows at once. And that snapshots keep what was, in both modes. Replicas and resource groups are as of one of each.
"""

import time

from harness import compacted, count, keys, plain, refused, restored, rows, run, same, small_collection, small_row
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2

MODES = ("clone", "copy")
GROUP = "__default_resource_group"
DEFINITION = ("fields", "description", "num_shards", "consistency_level", "properties", "enable_dynamic_field",
              "num_partitions", "auto_id", "functions")


def restore_in_both_modes(client, snapshot, source, **metadata):
    """The names of two new, loaded collections."""
    for mode in MODES:
        stub = client._get_connection()._stub
        request = milvus_pb2.RestoreSnapshotRequest(
            name=snapshot, collection_name=source, target_collection_name=f"{source}_{mode}")
        headers = [("elanus-restore-mode", mode), *((f"elanus-restore-{key}", value) for key, value in metadata.items())]
        answer = stub.RestoreSnapshot(request, timeout=30, metadata=headers)
        assert answer.status.code == 0, answer
        restored(client, answer.job_id)
        client.load_collection(f"{source}_{mode}")
    return [f"{source}_{mode}" for mode in MODES]


def got(client, name, ids):
    return [plain(dict(row)) for row in client.get(name, ids=ids)]


def definition(client, name):
    described = client.describe_collection(name)
    return {what: plain(described.get(what)) for what in DEFINITION}


def drop(client, *names):
    for name in names:
        client.drop_collection(name)


def rows_expire_and_a_restore_begins_anew(client):
    small_collection(client, "short", range(5), properties={"collection.ttl.seconds": 6})
    client.create_snapshot("all", "short")
    before, content = definition(client, "short"), rows(client, "short")
    same(before["properties"], {"collection.ttl.seconds": "6"})
    same(count(client, "short"), 5)
    time.sleep(6.2)
    client.insert("short", [small_row(9)])
    same((count(client, "short"), keys(rows(client, "short"))), (1, [9]))
    same([hit["id"] for hit in client.search("short", [[0.0] * 4], limit=9)[0]], [9])
    same(got(client, "short", [1, 9]), rows(client, "short"))
    # Inside the snapshot they are what they were.
    stub = client._get_connection()._stub
    ask = milvus_pb2.QueryRequest(collection_name="short", expr="id >= 0", output_fields=["id"])
    found = stub.Query(ask, timeout=30, metadata=(("elanus-snapshot", "all"),))
    same(sorted(found.fields_data[0].scalars.long_data.data), [0, 1, 2, 3, 4])

    made = restore_in_both_modes(client, "all", "short")
    for name in made:
        same(definition(client, name), before, name)
        same(rows(client, name), content, f"{name}: the clock starts with the restore")
    time.sleep(6.2)
    for name in made:
        same(count(client, name), 0, name)
    drop(client, *made)
    made = restore_in_both_modes(client, "all", "short", ages="write")
    for name in made:
        same((definition(client, name), count(client, name)), (before, 0), name)
    drop(client, *made)

    # What a compaction has removed does not come back with a longer time to live.
    compacted(client, "short")
    client.alter_collection_properties("short", {"collection.ttl.seconds": 3600})
    same(int(client.get_collection_stats("short")["row_count"]), count(client, "short"))
    client.drop_collection_properties("short", ["collection.ttl.seconds"])
    assert "collection.ttl.seconds" not in client.describe_collection("short").get("properties", {})
    for bad, text in ((-2, "collection TTL is out of range, expect [-1, 3155760000], got -2"),
                      ("soon", "collection TTL is not a valid positive integer")):
        with refused(1100, text):
            client.alter_collection_properties("short", {"collection.ttl.seconds": bad})
    drop(client, "short")


def some_columns_of_some_rows(client):
    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    schema.add_field("text", DataType.VARCHAR, max_length=20)
    schema.add_field("number", DataType.INT64, nullable=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    params = MilvusClient.prepare_index_params()
    params.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection("parts", schema=schema, index_params=params)
    row = lambda key, **more: {"id": key, "text": "old", "number": 1, "vector": [1.0, 2.0], "a": 1, "b": [2], **more}
    client.insert("parts", [row("x"), row('"y"'), row("z")])
    same(client.upsert("parts", [{"id": '"y"', "text": "new"}, {"id": "z", "text": "new"}], partial_update=True)["upsert_count"], 2)
    same(rows(client, "parts"), [row('"y"', text="new"), row("x"), row("z", text="new")])
    client.upsert("parts", [{"id": "x", "number": None, "a": 5, "c": None}], partial_update=True)
    same(got(client, "parts", ["x"]), [row("x", number=None, a=5, c=None)])
    # A key that comes twice: the last row counts. A row that is new must be whole.
    client.upsert("parts", [{"id": "x", "number": 2}, {"id": "x", "number": 3}], partial_update=True)
    same(got(client, "parts", ["x"])[0]["number"], 3)
    client.upsert("parts", [row("new")], partial_update=True)
    same(count(client, "parts"), 4)
    with refused(1100, "fieldSchema(text) has no corresponding fieldData pass in"):
        client.upsert("parts", [{"id": "absent", "number": 1}], partial_update=True)
    with refused(1100, "length of varchar field text exceeds max length"):
        client.upsert("parts", [{"id": "x", "text": "long" * 9}], partial_update=True)
    same(count(client, "parts"), 4)
    client.create_snapshot("s", "parts")
    before, content = definition(client, "parts"), rows(client, "parts")
    client.upsert("parts", [{"id": "x", "vector": [9.0, 9.0]}], partial_update=True)
    made = restore_in_both_modes(client, "s", "parts")
    for name in made:
        same((definition(client, name), rows(client, name)), (before, content), name)
    drop(client, "parts", *made)


def fields_come_and_go(client):
    small_collection(client, "fields", range(5))
    client.create_snapshot("plain", "fields")
    plain_definition, plain_rows = definition(client, "fields"), rows(client, "fields")
    client.alter_collection_properties("fields", {"dynamicfield.enabled": True})
    client.alter_collection_properties("fields", {"dynamicfield.enabled": True})
    assert client.describe_collection("fields")["enable_dynamic_field"]
    client.insert("fields", [{**small_row(7), "extra": "x"}])
    same(keys(client.query("fields", filter='extra == "x"', output_fields=["id"])), [7])
    same(got(client, "fields", [1]), [small_row(1)])
    with refused(1100, "dynamic schema cannot supported to be disabled"):
        client.alter_collection_properties("fields", {"dynamicfield.enabled": False})
    client.add_collection_field("fields", "late", DataType.INT64, nullable=True)
    client.upsert("fields", [{**small_row(8), "late": 8}])
    client.create_index("fields", index(client, "text", "INVERTED"))
    client.create_snapshot("wide", "fields")
    wide_definition, wide_rows = definition(client, "fields"), rows(client, "fields")

    client.drop_collection_field("fields", "text")
    same(client.list_indexes("fields"), ["vector"])
    same([field["name"] for field in client.describe_collection("fields")["fields"]], ["id", "vector", "late"])
    same(got(client, "fields", [7]), [{"id": 7, "vector": small_row(7)["vector"], "late": None, "extra": "x"}])
    # The same name again is another field.
    client.add_collection_field("fields", "text", DataType.VARCHAR, max_length=20, nullable=True)
    same(got(client, "fields", [7])[0]["text"], None)
    compacted(client, "fields")
    same(got(client, "fields", [7])[0]["text"], None)
    for name, why in (("id", "it is the primary key"), ("vector", "a collection needs a vector field")):
        with refused(1100, f"field {name} cannot be dropped: {why}"):
            client.drop_collection_field("fields", name)
    with refused(1100, "field not found[field=none]"):
        client.drop_collection_field("fields", "none")
    for snapshot, expected in (("plain", (plain_definition, plain_rows)), ("wide", (wide_definition, wide_rows))):
        made = restore_in_both_modes(client, snapshot, "fields")
        for name in made:
            same((definition(client, name), rows(client, name)), expected, name)
        drop(client, *made)
    drop(client, "fields")


def index(client, field, kind):
    params = client.prepare_index_params()
    params.add_index(field, index_type=kind)
    return params


def all_rows_at_once(client):
    small_collection(client, "many", range(20))
    client.create_partition("many", "other")
    client.insert("many", [small_row(50)], partition_name="other")
    client.delete("many", ids=[3])
    client.create_snapshot("full", "many")
    before, content = definition(client, "many"), rows(client, "many")
    client.truncate_collection("many")
    same((count(client, "many"), int(client.get_collection_stats("many")["row_count"])), (0, 0))
    same((definition(client, "many"), client.list_partitions("many")), (before, ["_default", "other"]))
    client.insert("many", [small_row(3)])
    same(keys(rows(client, "many")), [3])
    client.truncate_collection("many")
    client.truncate_collection("many")
    made = restore_in_both_modes(client, "full", "many")
    for name in made:
        same((definition(client, name), rows(client, name)), (before, content), name)
    with refused(100, "can't find collection"):
        client.truncate_collection("absent")
    drop(client, "many", *made)


def one_replica_in_the_one_group(client):
    small_collection(client, "held", range(3))
    [replica] = client.describe_replica("held")
    same((list(replica.group_nodes), replica.resource_group, len(replica.shards)), ([1], GROUP, 1))
    same(client.list_resource_groups(), [GROUP])
    group = client.describe_resource_group(GROUP)
    same((group.name, group.num_available_node, group.num_loaded_replica), (GROUP, 1, {"held": 1}))
    with refused(300, "resource group not found[rg=absent]"):
        client.describe_resource_group("absent")
    with refused(300, "resource group not found[rg=absent]"):
        client.load_collection("held", _resource_groups=["absent"])
    client.load_collection("held", _resource_groups=[GROUP])
    client.release_collection("held")
    with refused(101, "collection not loaded[collection=held]"):
        client.describe_replica("held")
    client.load_collection("held")
    client.optimize("held")
    drop(client, "held")


run(
    rows_expire_and_a_restore_begins_anew,
    some_columns_of_some_rows,
    fields_come_and_go,
    all_rows_at_once,
    one_replica_in_the_one_group,
)
