"""What an earlier program wrote, read by this one: `upgrade.py URL fill` with the earlier one, `upgrade.py URL check` with
this one. `fill` made what is in `tests/data/upgrade`; nothing that it does may change, for `check` must fit all of that.
"""

import sys

from harness import (
    CALL_MAX_S,
    compacted,
    count,
    keys,
    refused,
    restore,
    rows,
    same,
    small_collection,
    small_row,
    url,
    vector_index,
)
from pymilvus import DataType, MilvusClient

FIRST = {key: "first" for key in range(200)}
SECOND = {key: "second" if 50 <= key < 80 else text for key, text in FIRST.items() if key >= 20}
NOW = {**SECOND, **{key: "third" for key in range(1000, 1010)}}


def wide_row(key):
    return {"id": f"k{key}", "number": key - 10, "maybe": None if key % 3 else key / 8, "json": {"n": [key], "s": "ü"},
            "flag": key % 2 == 0, "vector": [key / 4, 1.0, -key / 8], "extra": key}


def fill(client):
    small_collection(client, "docs", keys=FIRST, num_shards=2, properties={"collection.ttl.seconds": "864000"})
    client.create_snapshot("first", "docs", description="200 rows")
    client.upsert("docs", [small_row(key, "second") for key in range(50, 80)])
    client.delete("docs", filter="id < 20")
    client.create_snapshot("second", "docs")
    client.create_partition("docs", "late")
    client.insert("docs", [small_row(key, "third") for key in range(1000, 1010)], partition_name="late")
    restore(client, "first", "docs", "shared")
    client.pin_snapshot_data("second", "docs")

    schema = MilvusClient.create_schema(enable_dynamic_field=True, description="of every type")
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    schema.add_field("number", DataType.INT16)
    schema.add_field("maybe", DataType.DOUBLE, nullable=True)
    schema.add_field("json", DataType.JSON)
    schema.add_field("flag", DataType.BOOL)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=3)
    client.create_collection("wide", schema=schema, index_params=vector_index("COSINE", index_name="main"))
    client.insert("wide", [wide_row(key) for key in range(40)])
    client.create_snapshot("all", "wide")
    client.delete("wide", ids=["k7"])
    client.release_collection("wide")

    small_collection(client, "gone", keys=range(30))
    client.create_snapshot("before_the_drop", "gone")
    client.drop_collection("gone")


def texts(client, name, **options):
    return {row["id"]: row["text"] for row in rows(client, name, **options)}


def check(client):
    same(sorted(client.list_collections()), ["docs", "shared", "wide"])
    same(texts(client, "docs"), NOW)
    same(sorted(texts(client, "docs", partition_names=["late"])), list(range(1000, 1010)))
    same(texts(client, "shared"), FIRST)
    described = client.describe_collection("docs")
    same((described["num_shards"], described["properties"].get("collection.ttl.seconds")), (2, "864000"))
    near = client.search("docs", [small_row(1003)["vector"]], limit=1, output_fields=["text"])[0][0]
    same((near["id"], near["entity"]["text"]), (1003, "third"))

    same(sorted(client.list_snapshots("docs")), ["first", "second"])
    same(client.describe_snapshot("first", "docs").description, "200 rows")
    with refused(2601, "active pins exist"):
        client.drop_snapshot("second", "docs")
    for snapshot, expected in (("first", FIRST), ("second", SECOND)):
        restore(client, snapshot, "docs", f"back_{snapshot}")
        same(texts(client, f"back_{snapshot}"), expected, snapshot)

    client.load_collection("wide")
    same(rows(client, "wide"), sorted((wide_row(key) for key in range(40) if key != 7), key=lambda row: row["id"]))
    restore(client, "all", "wide", "wide_back")
    same(rows(client, "wide_back"), sorted((wide_row(key) for key in range(40)), key=lambda row: row["id"]))
    same(client.describe_index("wide_back", "main")["metric_type"], "COSINE")

    # It goes on from there.
    client.upsert("docs", [small_row(key, "fourth") for key in range(100, 130)])
    client.delete("docs", filter="id in [1000, 1001]")
    now = {key: "fourth" if 100 <= key < 130 else text for key, text in NOW.items() if key not in (1000, 1001)}
    same(texts(client, "docs"), now)
    compacted(client, "docs")
    same(texts(client, "docs"), now)
    # Old files have no column of a field that is added now, whatever program wrote them.
    for name in ("docs", "wide"):
        client.add_collection_field(name, "added", DataType.INT64, nullable=True, default_value=7)
        same({row["added"] for row in client.query(name, filter="", limit=16384, output_fields=["added"])}, {7}, name)
    client.create_snapshot("after", "docs")
    restore(client, "after", "docs", "back_after")
    same(texts(client, "back_after"), now)
    same(count(client, "back_after", filter="added == 7"), len(now))
    same(texts(client, "shared"), FIRST)
    small_collection(client, "gone", keys=range(3))
    same((count(client, "gone"), keys(rows(client, "gone"))), (3, [0, 1, 2]))


def main():
    client = MilvusClient(url(), timeout=CALL_MAX_S)
    {"fill": fill, "check": check}[sys.argv[2]](client)
    client.close()


main()
