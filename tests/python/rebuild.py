"""Before and after the loss of the metadata store: `fill URL` takes snapshots, `check URL` compares what came back."""

import sys

from harness import CALL_MAX_S, count, restore, rows, same, small_collection, small_row
from pymilvus import DataType, MilvusClient


def fill(client):
    small_collection(client, "docs", keys=range(300), num_shards=2, properties={"collection.ttl.seconds": "7776000"})
    client.create_snapshot("before", "docs", description="300 rows")
    client.create_partition("docs", "late")
    client.upsert("docs", [small_row(key, "second") for key in range(50, 120)])
    client.delete("docs", filter="id >= 250")
    client.insert("docs", [small_row(key, "third") for key in range(1000, 1040)], partition_name="late")
    client.create_snapshot("after", "docs")
    restore(client, "after", "docs", "shared")
    client.create_snapshot("of_shared", "shared")
    # A collection of the same name was dropped, and its snapshot is still there.
    small_collection(client, "twice", keys=range(5))
    client.create_snapshot("old", "twice")
    client.drop_collection("twice")
    small_collection(client, "twice", keys=range(7))
    client.create_snapshot("new", "twice")
    # The last snapshot is what the collection comes back as, and what it is called.
    client.create_alias("docs", "papers")
    client.alter_database_properties("default", {"database.max.collections": "60"})
    client.add_collection_field("docs", "late", DataType.INT64, nullable=True, default_value=3)
    client.add_collection_field(
        "docs", "list", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4, max_length=8, nullable=True
    )
    client.drop_snapshot("before", "docs")
    client.create_snapshot("before", "docs", description="again")


def content(client, name):
    client.load_collection(name)
    return {row["id"]: row["text"] for row in rows(client, name)}


def check(client):
    expected = {key: "second" if 50 <= key < 120 else "first" for key in range(250)}
    expected.update({key: "third" for key in range(1000, 1040)})
    same(sorted(name for name in client.list_collections() if not name.startswith("twice_")), ["docs", "shared", "twice"])
    dropped = [name for name in client.list_collections() if name.startswith("twice_")]
    same(len(dropped), 1)
    same((len(content(client, "twice")), len(content(client, dropped[0]))), (7, 5))
    same(content(client, "docs"), expected)
    same(content(client, "shared"), expected)

    same(client.list_aliases("docs")["aliases"], ["papers"])
    same(content(client, "papers"), expected)
    same(client.describe_database("default").get("database.max.collections"), "60")
    described = client.describe_collection("docs")
    same((described["num_shards"], described["properties"].get("collection.ttl.seconds")), (2, "7776000"))
    same(sorted(client.list_partitions("docs")), ["_default", "late"])
    same([field["name"] for field in described["fields"]][:2], ["id", "text"])
    assert client.list_indexes("docs"), "index definitions come back"
    same((described["fields"][-1]["name"], described["fields"][-1]["element_type"]), ("list", DataType.VARCHAR))
    same(count(client, "docs", filter="late == 3"), len(expected), "files that are older than the field")

    names = sorted(client.list_snapshots("docs"), key=lambda name: client.describe_snapshot(name, "docs").create_ts)
    same(len(names), 3, "a dropped snapshot whose objects are still there")
    same(names[1:], ["after", "before"])
    for snapshot, target, size in [(names[0], "first_back", 300), ("after", "after_back", 290), ("before", "last_back", 290)]:
        restore(client, snapshot, "docs", target)
        found = content(client, target)
        same(len(found), size)
        if size == 290:
            same(found, expected)

    # New writes meet nothing old.
    client.insert("docs", [small_row(key, "new") for key in range(5000, 5100)])
    client.upsert("docs", [small_row(key, "new") for key in range(0, 10)])
    expected.update({key: "new" for key in [*range(5000, 5100), *range(10)]})
    same(content(client, "docs"), expected)
    same(len(content(client, "shared")), 290)
    client.create_snapshot("more", "docs")
    restore(client, "more", "docs", "more_back")
    same(content(client, "more_back"), expected)
    small_collection(client, "fresh", keys=range(10))
    same(count(client, "fresh"), 10)


def main():
    phase, address = sys.argv[1:]
    {"fill": fill, "check": check}[phase](MilvusClient(address, timeout=CALL_MAX_S))


main()
