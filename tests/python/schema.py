"""Collections with a schema: every type, partitions, indexes, load states, definitions."""

from harness import count, keys, plain, refused, rows, run, same, small_collection, small_row, small_schema, vector_index
from pymilvus import DataType, MilvusClient

LARGEST = {"i8": 127, "i16": 32767, "i32": 2**31 - 1, "i64": 2**63 - 1}
SMALLEST = {"i8": -128, "i16": -32768, "i32": -(2**31), "i64": -(2**63)}


def schema_of_all_types(**options):
    schema = MilvusClient.create_schema(enable_dynamic_field=True, **options)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("i8", DataType.INT8)
    schema.add_field("i16", DataType.INT16)
    schema.add_field("i32", DataType.INT32)
    schema.add_field("i64", DataType.INT64)
    schema.add_field("f32", DataType.FLOAT)
    schema.add_field("f64", DataType.DOUBLE)
    schema.add_field("yes", DataType.BOOL)
    schema.add_field("text", DataType.VARCHAR, max_length=64)
    schema.add_field("json", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=3)
    return schema


def row_of_all_types(key, integers):
    return {
        "id": key,
        **integers,
        "f32": 0.15625,
        "f64": 1e300 / 3,
        "yes": key % 2 == 0,
        "text": "größe \"x\" 🦅\n",
        "json": {"list": [1, 2.5, "a", None, True], "deep": {"": {}}, "n": 2**53},
        "vector": [0.5, -1.25, 3e-3],
        "extra": {"of": ["this", "row"]},
        f"only_{key}": key,
    }


def every_type_comes_back_as_it_was(client):
    client.create_collection("types", schema=schema_of_all_types(), index_params=vector_index("COSINE"))
    written = [row_of_all_types(1, LARGEST), row_of_all_types(2, SMALLEST)]
    same(client.insert("types", written)["insert_count"], 2)
    found = rows(client, "types")
    for row, source in zip(found, written):
        vector = row.pop("vector")
        assert all(abs(a - b) < 1e-7 for a, b in zip(vector, source["vector"], strict=True)), vector
        source = {key: value for key, value in source.items() if key != "vector"}
        same(row, source)
    hits = client.search("types", data=[[0.5, -1.25, 0.0]], limit=2, output_fields=["*"])
    same(plain(dict(hits[0][0]["entity"]))["json"], written[0]["json"])
    only = client.query("types", filter="id == 2", output_fields=["only_2", "extra"])
    same(plain(dict(only[0])), {"id": 2, "only_2": 2, "extra": {"of": ["this", "row"]}})
    client.drop_collection("types")


def absent_values_come_back_as_none(client):
    schema = small_schema()
    schema.add_field("number", DataType.INT32, nullable=True)
    schema.add_field("note", DataType.VARCHAR, max_length=10, nullable=True)
    schema.add_field("json", DataType.JSON, nullable=True)
    client.create_collection("nulls", schema=schema, index_params=vector_index())
    client.insert("nulls", [
        {**small_row(1), "number": 7, "note": None, "json": {"a": 1}},
        {**small_row(2), "number": None, "note": "x", "json": None},
    ])
    found = rows(client, "nulls")
    same([(row["number"], row["note"], row["json"]) for row in found], [(7, None, {"a": 1}), (None, "x", None)])
    same(keys(client.query("nulls", filter="number is null")), [2])
    same(keys(client.query("nulls", filter="number > 0 or note == 'x'")), [1, 2])
    client.drop_collection("nulls")


def values_that_do_not_fit_are_refused(client):
    client.create_collection("fits", schema=schema_of_all_types(), index_params=vector_index())
    good = row_of_all_types(1, LARGEST)
    with refused(1100, "i8", "does not fit"):
        client.insert("fits", [{**good, "i8": 128}])
    with refused(1100, "text", "max length"):
        client.insert("fits", [{**good, "text": "x" * 65}])
    same(count(client, "fits"), 0)
    client.drop_collection("fits")


def partitions_part_rows(client):
    small_collection(client, "parts", keys=())
    client.create_partition("parts", "north")
    client.create_partition("parts", "south")
    client.create_partition("parts", "south")
    same(sorted(client.list_partitions("parts")), ["_default", "north", "south"])
    assert client.has_partition("parts", "north") and not client.has_partition("parts", "west")
    client.insert("parts", [small_row(1)])
    client.insert("parts", [small_row(2), small_row(3)], partition_name="north")
    client.insert("parts", [small_row(4)], partition_name="south")
    same(keys(client.query("parts", filter="id > 0")), [1, 2, 3, 4])
    same(keys(client.query("parts", filter="id > 0", partition_names=["north", "_default"])), [1, 2, 3])
    hits = client.search("parts", data=[[4.0, 0.5, -1.0, 2.0]], limit=10, partition_names=["north"])
    same([hit["id"] for hit in hits[0]], [3, 2])
    same(client.get_partition_stats("parts", "north")["row_count"], 2)
    client.delete("parts", filter="id > 0", partition_name="north")
    same(keys(client.query("parts", filter="id > 0")), [1, 4])
    with refused(200, "partition not found[partition=west]"):
        client.insert("parts", [small_row(9)], partition_name="west")
    with refused(1100, "please release it first"):
        client.drop_partition("parts", "south")
    client.release_collection("parts")
    client.drop_partition("parts", "south")
    client.load_collection("parts")
    same(keys(client.query("parts", filter="id > 0")), [1])
    same(sorted(client.list_partitions("parts")), ["_default", "north"])
    with refused(1100, "default partition cannot be deleted"):
        client.drop_partition("parts", "_default")
    client.drop_collection("parts")


def indexes_are_defined_described_and_dropped(client):
    client.create_collection("indexed", schema=small_schema())
    same(client.list_indexes("indexed"), [])
    params = vector_index("IP", index_name="by_vector")
    params.add_index("text", index_type="INVERTED")
    client.create_index("indexed", params)
    same(sorted(client.list_indexes("indexed")), ["by_vector", "text"])
    same(client.list_indexes("indexed", field_name="text"), ["text"])
    described = client.describe_index("indexed", "by_vector")
    same((described["field_name"], described["metric_type"], described["index_type"]), ("vector", "IP", "AUTOINDEX"))
    same((described["state"], described["pending_index_rows"]), ("Finished", 0))
    client.create_index("indexed", params)
    with refused(1100, "at most one distinct index is allowed per field"):
        client.create_index("indexed", vector_index("L2", index_name="other"))
    with refused(1100, "invalid index type: HNSWX"):
        other = MilvusClient.prepare_index_params()
        other.add_index("vector", index_type="HNSWX", metric_type="L2")
        client.create_index("indexed", other)
    client.load_collection("indexed")
    with refused(1100, "collection is loaded"):
        client.drop_index("indexed", "by_vector")
    client.drop_index("indexed", "text")
    client.release_collection("indexed")
    client.drop_index("indexed", "by_vector")
    same(client.list_indexes("indexed"), [])
    client.drop_collection("indexed")


def what_is_not_loaded_is_not_read(client):
    client.create_collection("loads", schema=small_schema())
    same(str(client.get_load_state("loads")["state"]), "NotLoad")
    with refused(700, "please create index firstly"):
        client.load_collection("loads")
    client.insert("loads", [small_row(1)])
    client.create_index("loads", vector_index())
    for read in (lambda: client.query("loads", filter="id > 0"), lambda: client.search("loads", [[0.0] * 4])):
        with refused(101, "collection not loaded"):
            read()
    client.load_collection("loads")
    same(str(client.get_load_state("loads")["state"]), "Loaded")
    same(keys(client.query("loads", filter="id > 0")), [1])
    client.release_collection("loads")
    same(str(client.get_load_state("loads")["state"]), "NotLoad")
    same(str(client.get_load_state("nowhere")["state"]), "NotExist")
    client.drop_collection("loads")


def a_definition_is_described_as_it_was_given(client):
    schema = small_schema(description="of a test", enable_dynamic_field=True)
    options = {"num_shards": 2, "consistency_level": "Strong", "properties": {"collection.ttl.seconds": "86400"}}
    client.create_collection("defined", schema=schema, index_params=vector_index(), **options)
    found = client.describe_collection("defined")
    same([field["name"] for field in found["fields"]], ["id", "text", "vector"])
    same([field["field_id"] for field in found["fields"]], [100, 101, 102])
    same((found["num_shards"], found["description"], found["enable_dynamic_field"]), (2, "of a test", True))
    same(found["consistency_level_name"], "Strong")
    same(dict(found["properties"])["collection.ttl.seconds"], "86400")
    same((found["aliases"], found["num_partitions"]), ([], 1))
    client.create_collection("defined", schema=schema, **options)
    with refused(1100, "duplicate collection"):
        client.create_collection("defined", schema=small_schema())
    client.insert("defined", [small_row(key) for key in range(50)])
    same(count(client, "defined"), 50)
    client.drop_collection("defined")
    client.drop_collection("defined")


def a_name_that_is_used_again_is_another_collection(client):
    small_collection(client, "again")
    client.drop_collection("again")
    small_collection(client, "again", keys=[77])
    same(keys(client.query("again", filter="id >= 0")), [77])
    client.drop_collection("again")


run(
    every_type_comes_back_as_it_was,
    absent_values_come_back_as_none,
    values_that_do_not_fit_are_refused,
    partitions_part_rows,
    indexes_are_defined_described_and_dropped,
    what_is_not_loaded_is_not_read,
    a_definition_is_described_as_it_was_given,
    a_name_that_is_used_again_is_another_collection,
)
