"""What is dropped goes, what something needs stays: seen on the disk. The server has no trash and no tolerance.

Arguments: URL of the server, its data directory, the program, its management URL.
"""

import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

from harness import refused, restored, run, same, small_collection, small_row, url

DATA, PROGRAM, MANAGEMENT = pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
KINDS = {"insert_log", "delta_log", "snapshots"}


def files():
    return sorted(path for path in DATA.rglob("*") if path.is_file() and KINDS & set(path.parts))


def ctl(*words, code=0):
    done = subprocess.run(
        [PROGRAM, "ctl", "--addr", url(), "--output", "json", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, f"{words}: {done}"
    return json.loads(done.stdout) if done.stdout else None


def collect():
    ctl("gc", "run")
    ctl("scrub", "--checksums")


def row_count(name):
    """From the metadata: a query would lease the files for a while. `collect` reads them."""
    return ctl("collection", "describe", name)["statistics"]["row_count"]


def management(path):
    try:
        with urllib.request.urlopen(f"{MANAGEMENT}/management/datacoord/garbage_collection/{path}", timeout=30) as said:
            return said.status, json.load(said)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def a_dropped_collection_leaves_nothing(client):
    same(files(), [])
    name = small_collection(client, "whole")
    client.delete(name, ids=[1, 2])
    client.create_snapshot("s", name)
    assert len(files()) >= 4, files()
    client.drop_collection(name)
    collect()
    same(files(), [])


def a_snapshot_keeps_its_files_until_it_is_dropped(client):
    name = small_collection(client, "kept")
    client.create_partition(name, "part")
    client.insert(name, [small_row(100)], partition_name="part")
    client.create_snapshot("s", name)
    client.release_collection(name)
    client.drop_partition(name, "part")
    collect()
    restored(client, client.restore_snapshot("s", name, "kept_back"))
    same(row_count("kept_back"), 11)
    client.drop_collection("kept_back")
    before = len(files())
    collect()
    same(len(files()), before)
    client.drop_snapshot("s", name)
    collect()
    assert len(files()) < before - 1, "the partition's file, a manifest, a metadata object"
    same(row_count(name), 10)
    client.drop_collection(name)
    collect()
    same(files(), [])


def a_clone_keeps_the_files_of_its_source(client):
    name = small_collection(client, "source")
    client.create_snapshot("s", name)
    restored(client, client.restore_snapshot("s", name, "twin"))
    client.drop_collection(name)
    collect()
    same(row_count("twin"), 10)
    key = str(files()[0].relative_to(DATA))
    assert any("twin" in line for line in ctl("gc", "why", key)["reasons"]), ctl("gc", "why", key)
    client.drop_collection("twin")
    collect()
    same(files(), [])


def brakes_of_an_operator(client):
    name = small_collection(client, "braked")
    status, said = management("pause?pause_seconds=600")
    same((status, said["msg"]), (200, "OK"))
    client.drop_collection(name)
    ctl("gc", "run")
    assert files(), "paused"
    same(ctl("gc", "status")["pauses"][0]["actor"], "management")
    same(management("pause?pause_seconds=soon")[0], 400)
    same(management("resume?ticket=4711")[0], 500)
    same(management(f"resume?ticket={said['ticket']}"), (200, {"msg": "OK"}))
    collect()
    same(files(), [])
    actions = {line["action"] for line in ctl("gc", "audit", "--limit", "1000")}
    assert {"pause", "resume", "claim", "gone"} <= actions, actions

    name = small_collection(client, "held")
    client.create_snapshot("s", name)
    hold = ctl("gc", "holds", "set", name, "--snapshot", "s", "--reason", "a court wants it")[0]
    with refused(2601, "snapshot is pinned"):
        client.drop_snapshot("s", name)
    ctl("gc", "holds", "lift", str(hold["hold_id"]), "--yes")
    client.drop_snapshot("s", name)

    ctl("gc", "pause")
    client.drop_collection(name)
    ctl("gc", "freeze", "a test")
    ctl("gc", "resume")
    ctl("gc", "run")
    same(ctl("gc", "status", code=1)["frozen_reason"], "a test")
    assert files(), "frozen"
    ctl("gc", "thaw", "--yes")
    collect()
    same(files(), [])
    plan = ctl("gc", "plan")
    same(plan["objects"], 0)
    ctl("gc", "apply", str(plan["plan_id"]), "--dry-run")
    same(ctl("gc", "apply", str(plan["plan_id"]), "--yes")["file_sets"], 0)
    ctl("gc", "apply", str(plan["plan_id"]), "--yes", code=2)


run(
    a_dropped_collection_leaves_nothing,
    a_snapshot_keeps_its_files_until_it_is_dropped,
    a_clone_keeps_the_files_of_its_source,
    brakes_of_an_operator,
)
