"""The nine snapshot calls: what a snapshot holds, what a restore gives back."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from harness import (
    CALL_MAX_S,
    count,
    keys,
    refused,
    restore,
    restored,
    rows,
    run,
    same,
    small_collection,
    small_row,
    url,
    vector_index,
)
from pymilvus import DataType, MilvusClient, MilvusException


def all_nine_calls(client):
    name = small_collection(client, "nine")
    before_ms = time.time() * 1000
    client.create_snapshot("first", name, description="before the import", compaction_protection_seconds=60)
    client.create_snapshot("second", name)
    same(client.list_snapshots(name), ["first", "second"])

    info = client.describe_snapshot("first", name)
    same((info.name, info.description, info.collection_name), ("first", "before the import", name))
    same(list(info.partition_names), ["_default"])
    assert abs((info.create_ts >> 18) - before_ms) < 60_000, info.create_ts
    assert info.create_ts < client.describe_snapshot("second", name).create_ts
    assert info.s3_location.endswith(".json") and "/snapshots/" in info.s3_location, info.s3_location

    pin = client.pin_snapshot_data("first", name, ttl_seconds=600)
    assert pin > 0
    with refused(2601, "active pins exist, unpin before dropping", "snapshot is pinned[snapshot=first]"):
        client.drop_snapshot("first", name)
    client.unpin_snapshot_data(pin)
    client.unpin_snapshot_data(pin)

    job = client.restore_snapshot("first", name, "nine_back")
    done = restored(client, job)
    same((done.job_id, done.snapshot_name, done.db_name, done.collection_name), (job, "first", "default", "nine_back"))
    same(done.reason, "")
    same([found.job_id for found in client.list_restore_snapshot_jobs("nine_back")], [job])
    same(client.list_restore_snapshot_jobs(collection_name=name), [])
    assert job in [found.job_id for found in client.list_restore_snapshot_jobs()]

    client.drop_snapshot("first", name)
    client.drop_snapshot("first", name)
    same(client.list_snapshots(name), ["second"])
    client.drop_collection("nine_back")
    client.drop_collection(name)


def r_4_the_restored_collection_equals_the_source(client):
    schema = MilvusClient.create_schema(enable_dynamic_field=True, description="to be restored")
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
    schema.add_field("number", DataType.INT16)
    schema.add_field("maybe", DataType.DOUBLE, nullable=True)
    schema.add_field("json", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=3)
    schema.add_field("other", DataType.FLOAT_VECTOR, dim=2)
    indexes = vector_index("COSINE", index_name="main")
    indexes.add_index("other", index_type="FLAT", metric_type="IP")
    indexes.add_index("number", index_type="INVERTED", index_name="numbers")
    options = {"num_shards": 2, "consistency_level": "Strong", "properties": {"collection.ttl.seconds": "864000"}}
    client.create_collection("equal", schema=schema, index_params=indexes, **options)
    client.create_partition("equal", "north")

    def row(key, number):
        vector = [number / 8, 1.0, -number / 4]
        maybe = None if key % 3 else key / 8
        return {"id": f"k{key}", "number": number, "maybe": maybe, "json": {"n": [key]}, "vector": vector,
                "other": [1.0, key / 2], "extra": key, "note": None if key % 2 else "even"}

    client.insert("equal", [row(key, key) for key in range(60)])
    client.flush("equal")
    client.insert("equal", [row(key, key) for key in range(60, 90)], partition_name="north")
    client.upsert("equal", [row(key, 1000 + key) for key in range(5)])
    client.delete("equal", ids=["k7", "k8"])
    client.delete("equal", filter="number in [20, 21]")
    expected = {part: rows(client, "equal", partition_names=[part]) for part in ("_default", "north")}
    same([len(part) for part in expected.values()], [56, 30])
    definition, described = client.describe_collection("equal"), describe_indexes(client, "equal")

    client.create_snapshot("then", "equal")
    client.insert("equal", [row(1000, 1)])
    client.delete("equal", filter="number < 50")
    client.upsert("equal", [row(60, -1)], partition_name="north")
    client.release_collection("equal")
    client.drop_partition("equal", "north")
    client.drop_index("equal", "numbers")

    restore(client, "then", "equal", "equal_back")
    for part, expected_rows in expected.items():
        same(rows(client, "equal_back", partition_names=[part]), expected_rows, part)
    back = client.describe_collection("equal_back")
    for what in ("fields", "description", "num_shards", "consistency_level", "properties", "enable_dynamic_field",
                 "num_partitions", "auto_id", "functions"):
        same(back.get(what), definition.get(what), what)
    assert back["collection_id"] != definition["collection_id"]
    same(describe_indexes(client, "equal_back"), described)
    same(sorted(client.list_partitions("equal_back")), ["_default", "north"])
    hits = client.search("equal_back", [[1.0, 1.0, -2.0]], anns_field="vector", limit=1, filter='id != "k8"')[0]
    same(len(hits), 1)
    client.drop_collection("equal")
    client.drop_collection("equal_back")


def describe_indexes(client, name):
    found = []
    for index in sorted(client.list_indexes(name)):
        described = client.describe_index(name, index)
        found.append({key: value for key, value in described.items() if not key.endswith("_rows")})
    return found


def s_1_every_acknowledged_row_is_in_it_without_a_flush_and_no_later_one(client):
    name = small_collection(client, "cut", keys=())
    for key in range(30):
        client.insert(name, [small_row(key)])
        if key % 10 == 4:
            client.upsert(name, [small_row(key, "second")])
            client.delete(name, ids=[key - 1])
            expected = rows(client, name)
            client.create_snapshot(f"at_{key}", name)
            client.delete(name, ids=[key])
            client.upsert(name, [small_row(key - 2, "late")])
            restore(client, f"at_{key}", name, f"cut_{key}")
            same(rows(client, f"cut_{key}"), expected, f"at_{key}")
    for key in (4, 14, 24):
        client.drop_collection(f"cut_{key}")
    client.drop_collection(name)


def s_3_of_concurrent_creates_of_one_name_exactly_one_wins(client):
    name = small_collection(client, "race")

    def create(snapshot, description):
        own = MilvusClient(url(), timeout=CALL_MAX_S)
        try:
            own.create_snapshot(snapshot, name, description=description)
        except MilvusException as error:
            return description, error
        return description, None

    for snapshot, descriptions in (("differ", [f"of {number}" for number in range(8)]), ("alike", [""] * 8)):
        with ThreadPoolExecutor(8) as pool:
            ended = list(pool.map(lambda description: create(snapshot, description), descriptions))
        won = [description for description, error in ended if error is None]
        same(len(won), 1, str(ended))
        for _, error in ended:
            assert error is None or (error.code == 1100 and "exist" in error.message), error
        same(client.describe_snapshot(snapshot, name).description, won[0])
    same(client.list_snapshots(name), ["differ", "alike"])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.drop_snapshot("alike", name), range(8)))
    same(client.list_snapshots(name), ["differ"])
    client.create_snapshot("alike", name, description="again")
    same(client.describe_snapshot("alike", name).description, "again")
    client.drop_collection(name)


def s_2_a_request_that_is_repeated_succeeds_and_changes_nothing(client):
    name = small_collection(client, "repeated")
    client.create_snapshot("once", name, description="first", client_request_id="request-1")
    taken = client.describe_snapshot("once", name)
    client.insert(name, [small_row(100)])
    client.create_snapshot("once", name, description="first", client_request_id="request-1")
    same(client.describe_snapshot("once", name).create_ts, taken.create_ts)
    with refused(1100, "already exists"):
        client.create_snapshot("once", name, description="first", client_request_id="request-2")
    same(client.list_snapshots(name), ["once"])
    client.drop_collection(name)


def a_pin_ends_by_itself(client):
    name = small_collection(client, "pinned")
    client.create_snapshot("kept", name)
    first = client.pin_snapshot_data("kept", name, ttl_seconds=1)
    second = client.pin_snapshot_data("kept", name)
    assert first != second
    client.unpin_snapshot_data(second)
    until = time.monotonic() + 20
    while True:
        try:
            client.drop_snapshot("kept", name)
            break
        except MilvusException as error:
            same(error.code, 2601)
            assert time.monotonic() < until, "a pin of one second lasted for twenty"
            time.sleep(0.1)
    client.drop_collection(name)


def a_snapshot_of_nothing_restores_to_nothing(client):
    client.create_collection("empty", dimension=4)
    client.create_snapshot("nothing", "empty")
    restore(client, "nothing", "empty", "empty_back")
    same(count(client, "empty_back"), 0)
    client.insert("empty_back", [{"id": 1, "vector": [1.0] * 4}])
    same(keys(client.query("empty_back", filter="id >= 0")), [1])
    client.drop_collection("empty")
    client.drop_collection("empty_back")


def names_are_of_the_collection(client):
    for name, keys_ in (("left", [1]), ("right", [2])):
        small_collection(client, name, keys=keys_)
        client.create_snapshot("same_name", name)
    restore(client, "same_name", "right", "right_back")
    same(keys(client.query("right_back", filter="id >= 0")), [2])
    client.drop_snapshot("same_name", "left")
    same((client.list_snapshots("left"), client.list_snapshots("right")), ([], ["same_name"]))
    for name in ("left", "right", "right_back"):
        client.drop_collection(name)


def a_restored_collection_lives_on_its_own(client):
    name = small_collection(client, "parent")
    expected = rows(client, name)
    client.create_snapshot("old", name)
    restore(client, "old", name, "child")
    client.drop_collection(name)
    with refused(100, "parent"):
        client.list_snapshots(name)
    same(rows(client, "child"), expected)
    client.insert("child", [small_row(100)])
    client.delete("child", ids=[0])
    client.create_snapshot("of_child", "child")
    client.delete("child", filter="id > 0")
    restore(client, "of_child", "child", "grandchild")
    same(keys(client.query("grandchild", filter="id >= 0")), [*range(1, 10), 100])
    same(client.list_snapshots("grandchild"), [])
    client.drop_collection("child")
    same(count(client, "grandchild"), 10)
    client.drop_collection("grandchild")


def restores_run_side_by_side(client):
    name = small_collection(client, "many", keys=range(40))
    expected = rows(client, name)
    client.create_snapshot("base", name)
    targets = [f"many_{number}" for number in range(6)]
    jobs = [client.restore_snapshot("base", name, target) for target in targets]
    same(len(set(jobs)), 6)
    for job, target in zip(jobs, targets):
        restored(client, job)
        client.load_collection(target)
        same(rows(client, target), expected, target)
        client.drop_collection(target)
    client.drop_collection(name)


OTHER_PROCESS = """
import sys
from pymilvus import MilvusClient
client = MilvusClient(sys.argv[1])
assert client.list_snapshots("shared") == ["seen"], client.list_snapshots("shared")
assert client.describe_snapshot("seen", "shared").description == "from afar"
assert client.get_restore_snapshot_state(int(sys.argv[2])).state == "RestoreSnapshotCompleted"
print(sorted(row["id"] for row in client.query("shared_back", filter="id >= 0")))
"""


def another_process_sees_the_same(client):
    name = small_collection(client, "shared")
    client.create_snapshot("seen", name, description="from afar")
    job = restore(client, "seen", name, "shared_back")
    command = [sys.executable, "-c", OTHER_PROCESS, url(), str(job.job_id)]
    other = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert other.returncode == 0, other.stderr
    same(other.stdout.strip(), str(list(range(10))))
    client.drop_collection(name)
    client.drop_collection("shared_back")


run(
    all_nine_calls,
    r_4_the_restored_collection_equals_the_source,
    s_1_every_acknowledged_row_is_in_it_without_a_flush_and_no_later_one,
    s_3_of_concurrent_creates_of_one_name_exactly_one_wins,
    s_2_a_request_that_is_repeated_succeeds_and_changes_nothing,
    a_pin_ends_by_itself,
    a_snapshot_of_nothing_restores_to_nothing,
    names_are_of_the_collection,
    a_restored_collection_lives_on_its_own,
    restores_run_side_by_side,
    another_process_sees_the_same,
)
