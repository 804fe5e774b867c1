"""Compaction as pymilvus asks for it: what a collection and its snapshots show stays, files and deleted rows go."""

import time

from harness import compacted, count, keys, refused, restore, rows, run, same, small_collection, small_row

def segments(client, name):
    """Rows of each segment that has any."""
    client.flush(name)
    return sorted(segment.num_rows for segment in client.list_persistent_segments(name))


def statistics(client, name):
    return int(client.get_collection_stats(name)["row_count"])


def many_small_files_become_one(client):
    name = small_collection(client, "small", keys=range(5))
    for start in range(5, 100, 5):
        client.insert(name, [small_row(key) for key in range(start, start + 5)])
    before = rows(client, name)
    client.create_snapshot("before", name)
    client.delete(name, filter="id >= 90")
    client.upsert(name, [small_row(key, "second") for key in range(10, 20)])
    expected = rows(client, name)
    assert statistics(client, name) > 90

    job = compacted(client, name)
    same(rows(client, name), expected)
    same(statistics(client, name), 90, "deleted rows are gone")
    same(segments(client, name), [90])
    plans = client.get_compaction_plans(job)
    assert len(plans.plans) >= 1, plans
    for plan in plans.plans:
        assert plan.sources and plan.target not in plan.sources, plan
    # What comes later applies to the new file.
    client.delete(name, filter="id < 3")
    client.upsert(name, [small_row(50, "third")])
    expected = [row | ({"text": "third"} if row["id"] == 50 else {}) for row in expected if row["id"] >= 3]
    same(rows(client, name), expected)

    restore(client, "before", name, "small_back")
    same(rows(client, "small_back"), before, "S-1")
    compacted(client, "small_back")
    same(rows(client, "small_back"), before)
    client.create_snapshot("after", name)
    restore(client, "after", name, "small_after")
    same(rows(client, "small_after"), expected)
    for one in (name, "small_back", "small_after"):
        client.drop_collection(one)


def shards_partitions_and_searches(client):
    name = small_collection(client, "spread", keys=range(40), num_shards=3)
    client.create_partition(name, "other")
    for start in range(100, 160, 20):
        client.insert(name, [small_row(key) for key in range(start, start + 20)], partition_name="other")
    client.delete(name, filter="id in [1, 2, 3, 101, 102]")
    client.delete(name, filter="id == 150", partition_name="other")
    expected = rows(client, name)
    query = [[39.0, 0.5, -1.0, 2.0]]
    nearest = client.search(name, query, limit=5, output_fields=["text"])
    compacted(client, name)
    same(rows(client, name), expected)
    others = client.query(name, filter="id > 0", partition_names=["other"], output_fields=["id"], limit=100)
    same(keys(others), sorted(row["id"] for row in expected if row["id"] >= 100))
    same(client.search(name, query, limit=5, output_fields=["text"]), nearest)
    same(sum(segments(client, name)), len(expected))
    client.release_partitions(name, "other")
    client.drop_partition(name, "other")
    compacted(client, name)
    same(count(client, name), 37)
    client.drop_collection(name)


def everything_deleted(client):
    name = small_collection(client, "emptied", keys=range(20))
    client.delete(name, filter="id >= 0")
    compacted(client, name)
    same((count(client, name), statistics(client, name), segments(client, name)), (0, 0, []))
    client.insert(name, [small_row(7)])
    same(count(client, name), 1)
    client.drop_collection(name)


def protection_is_honoured(client):
    name = small_collection(client, "protected", keys=range(10))
    client.insert(name, [small_row(10)])
    client.create_snapshot("wait", name, compaction_protection_seconds=600)
    before = segments(client, name)
    compacted(client, name)
    same(segments(client, name), before, "the files of the snapshot are let be")
    client.drop_snapshot("wait", name)
    client.insert(name, [small_row(11)])
    compacted(client, name)
    same(segments(client, name), [12])
    client.drop_collection(name)


def while_it_is_written_to(client):
    name = small_collection(client, "busy", keys=range(100))
    until = time.monotonic() + 3
    key = 100
    jobs = set()
    while time.monotonic() < until:
        client.insert(name, [small_row(key)])
        client.delete(name, filter=f"id == {key - 100}")
        jobs.add(client.compact(name))
        same(count(client, name), 100)
        key += 1
    assert len(jobs) == key - 100
    compacted(client, name)
    same(keys(rows(client, name)), list(range(key - 100, key)))
    client.drop_collection(name)


def what_cannot_be_is_refused(client):
    name = small_collection(client, "refusing", keys=[])
    job = client.compact(name)
    same(client.get_compaction_state(job), "Completed", "there is nothing to do")
    with refused(1100, "compaction not found[id=4711]"):
        client.get_compaction_state(4711)
    with refused(100, "can't find collection"):
        client.compact("nowhere")
    with refused(10, "clustering compaction is not supported"):
        client.compact(name, is_clustering=True)
    client.drop_collection(name)


run(
    many_small_files_become_one,
    shards_partitions_and_searches,
    everything_deleted,
    protection_is_honoured,
    while_it_is_written_to,
    what_cannot_be_is_refused,
)
