"""Fills a collection and takes a snapshot of it; prints the snapshot's location and how many rows it brings back."""

from harness import CALL_MAX_S, compacted, count, restore, small_collection, small_row, url
from pymilvus import MilvusClient


def main():
    client = MilvusClient(url(), timeout=CALL_MAX_S)
    small_collection(client, "docs", keys=range(300), num_shards=2)
    client.create_snapshot("before", "docs")
    client.upsert("docs", [small_row(key, "second") for key in range(50, 120)])
    client.delete("docs", filter="id >= 250")
    client.insert("docs", [small_row(key, "third") for key in range(1000, 1040)])
    # Compacted files are read in the same way.
    compacted(client, "docs")
    client.delete("docs", filter="id == 1039 or id == 99")
    client.upsert("docs", [small_row(key, "third") for key in (1039, 99)])
    client.create_snapshot("after", "docs")
    client.delete("docs", filter="id >= 0")
    restore(client, "after", "docs", "back")
    client.load_collection("back")
    rows = count(client, "back")
    assert rows == 290, rows
    print(client.describe_snapshot("after", "docs").s3_location, rows)


main()
