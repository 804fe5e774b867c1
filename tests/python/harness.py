"""What the scripts in this folder share.

Each is run with the URL of a server. It prints `ok NAME` for every case and ends with 1 at the first that fails.
"""

import logging
import sys
import time
import traceback
from contextlib import contextmanager

from pymilvus import DataType, MilvusClient, MilvusException

# Most refusals here are wanted; those that are not are raised and printed.
logging.disable(logging.CRITICAL)

RESTORE_MAX_S = 60
COMPACTION_MAX_S = 60
# Longest call: a client that is told to go on trying does so for minutes without it.
CALL_MAX_S = 30


def url():
    return sys.argv[1]


def run(*cases, **options):
    """Runs them with a client of the server; `options` are the client's."""
    client = MilvusClient(url(), timeout=CALL_MAX_S, **options)
    for case in cases:
        started = time.monotonic()
        try:
            case(client)
        except BaseException:
            print(f"FAILED {case.__name__}")
            traceback.print_exc(file=sys.stdout)
            sys.exit(1)
        print(f"ok {case.__name__} ({time.monotonic() - started:.1f} s)")
    client.close()


@contextmanager
def refused(code, *fragments):
    """The block must be refused with this code, and a text that has these fragments."""
    try:
        yield
    except MilvusException as error:
        assert error.code == code, f"code {error.code} instead of {code}: {error.message}"
        for fragment in fragments:
            assert fragment in error.message, f"{fragment!r} is not in {error.message!r}"
    else:
        raise AssertionError(f"not refused, expected {code} {fragments}")


def same(found, expected, what=""):
    assert found == expected, f"{what}\n  found    {found}\n  expected {expected}"


def small_schema(**options):
    """An int64 key, a text and a vector of four."""
    schema = MilvusClient.create_schema(**options)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    return schema


def small_row(key, text="first"):
    return {"id": key, "text": text, "vector": [float(key), 0.5, -1.0, 2.0]}


def vector_index(metric="L2", field="vector", **options):
    params = MilvusClient.prepare_index_params()
    params.add_index(field, index_type="AUTOINDEX", metric_type=metric, **options)
    return params


def small_collection(client, name, keys=range(10), **options):
    """A loaded collection of `small_row`s."""
    client.create_collection(name, schema=small_schema(), index_params=vector_index(), **options)
    if keys:
        client.insert(name, [small_row(key) for key in keys])
    return name


def plain(value):
    """Rows, vectors and numbers as values that compare."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__module__ == "numpy" and getattr(value, "ndim", 0):
        return [plain(item) for item in value]
    return value.item() if type(value).__module__ == "numpy" else value


def rows(client, name, **options):
    """All fields of all rows, by key."""
    found = client.query(name, filter="", output_fields=["*"], limit=16384, **options)
    return sorted((plain(dict(row)) for row in found), key=lambda row: str(row.get("id")))


def keys(found):
    return sorted(row["id"] for row in found)


def count(client, name, filter="", **options):
    return client.query(name, filter=filter, output_fields=["count(*)"], **options)[0]["count(*)"]


def restored(client, job_id):
    """Waits for a restore; checks that its progress never falls."""
    seen = -1
    until = time.monotonic() + RESTORE_MAX_S
    while True:
        job = client.get_restore_snapshot_state(job_id)
        assert seen <= job.progress <= 100, f"progress went from {seen} to {job.progress}"
        seen = job.progress
        assert job.start_time > 0, job
        if job.state == "RestoreSnapshotCompleted":
            assert job.progress == 100 and job.time_cost > 0, job
            return job
        assert job.state in ("RestoreSnapshotPending", "RestoreSnapshotExecuting"), job
        assert job.progress < 100, f"100 % and not completed: {job}"
        assert time.monotonic() < until, f"waited {RESTORE_MAX_S} s for the restore; now: {job}"
        time.sleep(0.02)


def compacted(client, name):
    """Compacts a collection and waits until that is done; the id of the compaction."""
    job = client.compact(name)
    until = time.monotonic() + COMPACTION_MAX_S
    while client.get_compaction_state(job) != "Completed":
        assert time.monotonic() < until, f"waited {COMPACTION_MAX_S} s for the compaction"
        time.sleep(0.02)
    return job


def restore(client, snapshot, source, target):
    job = restored(client, client.restore_snapshot(snapshot, source, target))
    client.load_collection(target)
    return job
