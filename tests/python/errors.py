"""Refusals: the code and the words that clients look for, for every snapshot call. pymilvus checks some values itself and
never sends them; those go through its generated stub, as another client would send them."""

import time

import grpc
from harness import refused, restore, run, same, small_collection, url
from pymilvus import MilvusClient, MilvusException
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

WEEK_S, MONTH_S = 7 * 24 * 3600, 30 * 24 * 3600
BAD_NAMES = {
    " ": "snapshot name should be not empty",
    "x" * 256: "the length of snapshot name must be not greater than limit",
    "1st": "the first character of snapshot name must be an underscore or letter",
    "a-b": "snapshot name can only contain numbers, letters, underscores, and allowed characters",
    "a/../b": "snapshot name can only contain numbers, letters, underscores, and allowed characters",
}

stub = milvus_pb2_grpc.MilvusServiceStub(grpc.insecure_channel(url().removeprefix("http://")))


def sent(call, **fields):
    """Sends a request as it is; a refusal is raised as pymilvus does."""
    request = getattr(milvus_pb2, f"{call}Request")(**fields)
    answer = getattr(stub, call)(request, timeout=30)
    status = getattr(answer, "status", answer)
    if status.code != 0 or status.error_code != 0:
        assert status.code != 0 and status.error_code != 0, f"only one of the codes is set: {status}"
        raise MilvusException(status.code, status.reason)
    return answer


def a_collection_with_a_snapshot(client):
    small_collection(client, "source")
    client.create_snapshot("there", "source")


def bad_names_are_refused_by_every_call_that_takes_one(client):
    of = {"collection_name": "source"}
    for name, words in {"": BAD_NAMES[" "], **BAD_NAMES}.items():
        with refused(1100, words):
            sent("CreateSnapshot", name=name, **of)
        with refused(1100, words):
            sent("DropSnapshot", name=name, **of)
        with refused(1100, words):
            sent("DescribeSnapshot", name=name, **of)
        with refused(1100, words):
            sent("PinSnapshotData", name=name, **of)
        with refused(1100, words):
            sent("RestoreSnapshot", name=name, target_collection_name="target", **of)
    for name in ("x" * 255, "_", "A9$b"):
        client.create_snapshot(name, "source")
        client.drop_snapshot(name, "source")


def a_collection_must_be_named_and_be_there(client):
    with refused(1101, "collection_name is required for drop snapshot"):
        sent("DropSnapshot", name="there")
    with refused(1101, "collection_name is required for ListSnapshots"):
        client.list_snapshots()
    with refused(1101, "collection_name is required"):
        sent("DescribeSnapshot", name="there")
    with refused(1101, "collection_name is required"):
        sent("PinSnapshotData", name="there")
    with refused(1101):
        sent("RestoreSnapshot", name="there", target_collection_name="target")
    with refused(1101):
        sent("RestoreSnapshot", name="there", collection_name="source")
    for call in (
        lambda: client.create_snapshot("x", "nowhere"),
        lambda: client.drop_snapshot("x", "nowhere"),
        lambda: client.list_snapshots("nowhere"),
        lambda: client.describe_snapshot("x", "nowhere"),
        lambda: client.pin_snapshot_data("x", "nowhere"),
        lambda: client.restore_snapshot("x", "nowhere", "target"),
    ):
        with refused(100, "can't find collection", "nowhere"):
            call()


def create(client):
    with refused(1100, "snapshot name there already exists in collection"):
        client.create_snapshot("there", "source")
    with refused(1100, "compaction_protection_seconds must be non-negative"):
        sent("CreateSnapshot", name="x", collection_name="source", compaction_protection_seconds=-1)
    with refused(1100, "must not exceed 604800"):
        client.create_snapshot("x", "source", compaction_protection_seconds=WEEK_S + 1)
    client.create_snapshot("x", "source", compaction_protection_seconds=WEEK_S)
    client.drop_snapshot("x", "source")


def describe_and_drop(client):
    with refused(2600, "collection ", ": snapshot not found[snapshot=absent]"):
        client.describe_snapshot("absent", "source")
    client.drop_snapshot("absent", "source")


def pin_and_unpin(client):
    with refused(2600, "snapshot not found[snapshot=absent]"):
        client.pin_snapshot_data("absent", "source")
    with refused(1100, "ttl_seconds must be non-negative"):
        sent("PinSnapshotData", name="there", collection_name="source", ttl_seconds=-1)
    with refused(1100, "ttl_seconds exceeds maximum of 2592000"):
        client.pin_snapshot_data("there", "source", ttl_seconds=MONTH_S + 1)
    with refused(1101):
        sent("UnpinSnapshotData", pin_id=0)
    client.unpin_snapshot_data(123456789)
    pin = client.pin_snapshot_data("there", "source", ttl_seconds=MONTH_S)
    with refused(2601, "active pins exist", "snapshot is pinned[snapshot=there]"):
        client.drop_snapshot("there", "source")
    client.unpin_snapshot_data(pin)


def restores(client):
    with refused(2600, "snapshot not found[snapshot=absent]"):
        client.restore_snapshot("absent", "source", "target")
    with refused(1100, "duplicate collection"):
        client.restore_snapshot("there", "source", "source")
    for target in ("1st", "a-b", "x" * 256, "*"):
        with refused(1100):
            client.restore_snapshot("there", "source", target)
    with refused(800, "database not found[database=nowhere]"):
        client.restore_snapshot("there", "source", "target", target_db_name="nowhere")
    with refused(2101, "restore job not found: jobID=4711"):
        client.get_restore_snapshot_state(4711)
    same(client.list_restore_snapshot_jobs("never_restored"), [])
    assert not client.has_collection("target")
    restore(client, "there", "source", "target")
    with refused(1100, "duplicate collection"):
        client.restore_snapshot("there", "source", "target")
    client.drop_collection("target")
    restore(client, "there", "source", "target")
    client.drop_collection("target")


def an_unknown_database_is_told(client):
    elsewhere = MilvusClient(url(), db_name="nowhere", timeout=30)
    for call in (
        lambda: elsewhere.list_snapshots("source"),
        lambda: elsewhere.create_snapshot("x", "source"),
        lambda: elsewhere.describe_collection("source"),
        lambda: elsewhere.list_collections(),
        lambda: elsewhere.create_collection("x", dimension=2),
        lambda: client.create_snapshot("x", "source", db_name="nowhere"),
    ):
        with refused(800, "database not found[database=nowhere]"):
            call()
    elsewhere.close()
    same(client.list_snapshots("source", db_name="default"), ["there"])


def calls_that_are_not_served_fail_at_once(client):
    started = time.monotonic()
    for call in (
        lambda: client.create_resource_group("other"),
        lambda: client.drop_resource_group("other"),
    ):
        try:
            call()
        except grpc.RpcError as error:
            same(error.code(), grpc.StatusCode.UNIMPLEMENTED)
        else:
            raise AssertionError("an answer from a call that is not served")
    assert time.monotonic() - started < 5, "the client tries again what will never work"


def refusals_change_nothing(client):
    same(client.list_snapshots("source"), ["there"])
    same(client.list_collections(), ["source"])
    client.drop_collection("source")


run(
    a_collection_with_a_snapshot,
    bad_names_are_refused_by_every_call_that_takes_one,
    a_collection_must_be_named_and_be_there,
    create,
    describe_and_drop,
    pin_and_unpin,
    restores,
    an_unknown_database_is_told,
    calls_that_are_not_served_fail_at_once,
    refusals_change_nothing,
)
