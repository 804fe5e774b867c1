"""Indexes that are built: from polling to the bucket, through snapshots, restores, compaction and garbage collection. The
server has no trash and no tolerance.

Arguments: URL of the server, its data directory, the program, its management URL.
"""

import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

import numpy as np
from pymilvus import DataType, MilvusClient

from harness import compacted, refused, run, same, url

DATA, PROGRAM, MANAGEMENT = pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
NAME, ROWS, DIM, K = "indexed", 20_000, 64, 10
CHANCE = np.random.default_rng(7)
CENTRES = CHANCE.normal(0, 1, (100, DIM))
VECTORS = (CENTRES[np.arange(ROWS) % 100] + CHANCE.normal(0, 0.3, (ROWS, DIM))).astype(np.float32)
QUERIES = (CENTRES[np.arange(50)] + CHANCE.normal(0, 0.3, (50, DIM))).astype(np.float32)
HNSW = {"M": 16, "efConstruction": 128}


def files():
    return sorted(path for path in DATA.rglob("*.vamana") if path.is_file())


def ctl(*words):
    done = subprocess.run(
        [PROGRAM, "ctl", "--addr", url(), "--output", "json", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{words}: {done}"
    return json.loads(done.stdout) if done.stdout else None


def metric(name, **labels):
    """The sum of a counter over all its labels but these."""
    with urllib.request.urlopen(f"{MANAGEMENT}/metrics", timeout=30) as said:
        lines = said.read().decode().splitlines()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    found = [line for line in lines if re.match(name + r"[ {]", line) and all(label in line for label in wanted)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def builds():
    return metric("elanus_index_build_transitions_total", to="completed")


def by_graph():
    return metric("elanus_querynode_index_searches_total", by="graph")


def nearest(query, among=None):
    keys = np.arange(ROWS) if among is None else among
    distances = ((VECTORS[keys].astype(np.float64) - query) ** 2).sum(axis=1)
    return set(keys[np.argsort(distances, kind="stable")[:K]].tolist())


def recall(client, name, among=None, **options):
    found = client.search(name, QUERIES.tolist(), anns_field="vector", limit=K, **options)
    hits = 0
    for query, answer in zip(QUERIES, found):
        same(len(answer), K)
        same([hit["distance"] for hit in answer], sorted(hit["distance"] for hit in answer))
        for hit in answer:
            exact = ((VECTORS[hit["id"]].astype(np.float64) - query) ** 2).sum()
            assert abs(hit["distance"] - exact) < 1e-3 * max(1, exact), (hit, exact)
        hits += len({hit["id"] for hit in answer} & nearest(query, among))
    return hits / (K * len(QUERIES))


def finished(client, name, seconds=120):
    states = []
    for _ in range(seconds * 10):
        found = client.describe_index(name, "vector")
        same(found["indexed_rows"] + found["pending_index_rows"], found["total_rows"])
        states.append(found["state"])
        if found["state"] == "Finished":
            same(found["pending_index_rows"], 0)
            return states
        time.sleep(0.1)
    raise AssertionError(f"{name} is not finished: {found}")


def a_large_collection_is_indexed_and_searched_by_its_graph(client):
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("number", DataType.INT64)
    client.create_collection(NAME, schema=schema)
    for start in range(0, ROWS, 5_000):
        some = range(start, start + 5_000)
        client.insert(NAME, [{"id": key, "vector": VECTORS[key].tolist(), "number": key % 1000} for key in some])
    client.flush(NAME)
    compacted(client, NAME)
    same(files(), [], "nothing is built before there is a definition")

    params = MilvusClient.prepare_index_params()
    params.add_index("vector", index_type="HNSW", metric_type="L2", params=HNSW)
    client.create_index(NAME, params, sync=False)
    client.load_collection(NAME)
    assert recall(client, NAME) >= 0.95, "also while it is built"
    finished(client, NAME)
    same((len(files()), builds()), (1, 1))
    found = client.describe_index(NAME, "vector")
    same((found["total_rows"], found.get("elanus.served_by")), (ROWS, "VAMANA"))
    before = by_graph()
    found = recall(client, NAME)
    print(f"recall by the graph: {found}")
    assert found >= 0.95, found
    assert by_graph() >= before + len(QUERIES), "a graph answered"
    same(recall(client, NAME, search_params={"params": {"ef": 20_000}}), 1.0)


def filters_and_deletes_are_kept(client):
    numbers = np.arange(ROWS) % 1000
    for below, by in ((700, "graph"), (10, "scan")):
        before = metric("elanus_querynode_index_searches_total", by=by)
        found = recall(client, NAME, among=np.flatnonzero(numbers < below), filter=f"number < {below}")
        assert found >= (0.95 if by == "graph" else 1.0), (below, found)
        assert metric("elanus_querynode_index_searches_total", by=by) >= before + len(QUERIES), below
    client.create_snapshot("whole", NAME)
    gone = sorted(nearest(QUERIES[0]))
    client.delete(NAME, ids=gone)
    left = np.setdiff1d(np.arange(ROWS), gone)
    assert recall(client, NAME, among=left) >= 0.95
    answer = client.search(NAME, [QUERIES[0].tolist()], anns_field="vector", limit=K)[0]
    assert not {hit["id"] for hit in answer} & set(gone), answer


def wrong_parameters_are_refused(client):
    for params, fragment in (({"ef": 0}, "Out of range in json: param 'ef' (0)"), ({"ef": 5}, "ef(5) should be larger than k(10)")):
        with refused(1100, fragment):
            client.search(NAME, [QUERIES[0].tolist()], anns_field="vector", limit=K, search_params={"params": params})


def snapshots_and_restores_keep_it_without_a_build(client):
    built = builds()
    client.create_snapshot("less", NAME)
    for mode, extra in (("clone", 0), ("copy", 1)):
        before = len(files())
        target = f"restored_{mode}"
        ctl("snapshot", "restore", NAME, "whole", target, "--mode", mode, "--wait")
        same(client.describe_index(target, "vector")["state"], "Finished")
        same(len(files()) - before, extra, mode)
        client.load_collection(target)
        searched = by_graph()
        found = recall(client, target)
        assert found >= 0.95, found
        assert by_graph() >= searched + len(QUERIES), "a graph answered"
        same(builds(), built, "nothing was built")
    ctl("scrub", "--checksums")


def compaction_ends_it_and_another_one_comes(client):
    built = builds()
    client.delete(NAME, filter="number >= 500")
    compacted(client, NAME)
    finished(client, NAME)
    same(builds(), built + 1)
    left = np.flatnonzero(np.arange(ROWS) % 1000 < 500)
    left = np.setdiff1d(left, sorted(nearest(QUERIES[0])))
    assert recall(client, NAME, among=left) >= 0.95


def a_dropped_index_goes_with_what_needs_it(client):
    for name in (NAME, "restored_clone", "restored_copy"):
        client.release_collection(name)
        client.drop_index(name, "vector")
    with refused(700):
        client.load_collection(NAME)
    assert files(), "the snapshots have it"
    for snapshot in ("whole", "less"):
        client.drop_snapshot(snapshot, NAME)
    exact = MilvusClient.prepare_index_params()
    exact.add_index("vector", index_type="FLAT", metric_type="L2")
    for name in (NAME, "restored_clone", "restored_copy"):
        client.create_index(name, exact)
        client.load_collection(name)
        # What a query node has read of a collection is kept until it reads on, or for ten minutes.
        client.query(name, filter="id == 0")
    for _ in range(500):
        ctl("gc", "run")
        if not files():
            break
        time.sleep(0.2)
    same(files(), [])
    ctl("scrub", "--checksums")


def small_collections_are_finished_at_once(client):
    name = "small"
    client.create_collection(name, dimension=8, metric_type="L2")
    client.insert(name, [{"id": key, "vector": [float(key)] * 8} for key in range(1_000)])
    client.flush(name)
    found = client.describe_index(name, "vector")
    same((found["state"], found["indexed_rows"], found["pending_index_rows"]), ("Finished", 1_000, 0))
    same([hit["id"] for hit in client.search(name, [[3.0] * 8], limit=1)[0]], [3])
    client.drop_collection(name)


run(
    a_large_collection_is_indexed_and_searched_by_its_graph,
    filters_and_deletes_are_kept,
    wrong_parameters_are_refused,
    snapshots_and_restores_keep_it_without_a_build,
    compaction_ends_it_and_another_one_comes,
    a_dropped_index_goes_with_what_needs_it,
    small_collections_are_finished_at_once,
)
