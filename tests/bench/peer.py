"""One server, driven by pymilvus: what `cargo xtask bench --filter peer` runs against Elanus and milvus-lite alike.

    python peer.py URI PID ROWS WIDE_ROWS SEARCHES

Prints one JSON object of figures. Rates are per second and times in milliseconds, as one client sees them that sends one
request after the other. The vectors are the same for everybody: they come from a seed.
"""

import json
import sys
import time

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

DIM, WIDE_DIM = 128, 768
BATCH = 1_000
LIMIT = 10
CLUSTERS = 256
RECALL = 0.95
# `part` is even among 0..999: `part < N` lets N / 10 % of the rows pass.
PARTS = 1_000
# Breadths of a search, one after the other until the recall is reached.
EFS = (None, 64, 128, 256, 512, 1024)
READY_MAX_S = 1_800


def clustered(rows, dim, seed):
    random = np.random.default_rng(seed)
    # The clusters are the same for rows and queries.
    centres = np.random.default_rng(7).normal(size=(CLUSTERS, dim)).astype(np.float32)
    own = centres[random.integers(0, CLUSTERS, rows)]
    return own + 0.35 * random.normal(size=(rows, dim)).astype(np.float32)


def nearest(vectors, queries, mask=None):
    """The keys of the nearest rows, exactly."""
    keys = np.arange(len(vectors)) if mask is None else np.flatnonzero(mask)
    rows = vectors if mask is None else vectors[mask]
    squares = (rows * rows).sum(axis=1)
    found = []
    for query in queries:
        distances = squares - 2 * (rows @ query)
        found.append(set(keys[np.argpartition(distances, LIMIT)[:LIMIT]].tolist()))
    return found


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def collection(client, name, dim):
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("part", DataType.INT32)
    schema.add_field("text", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    index = MilvusClient.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index)


def insert(client, name, vectors, parts):
    """Rows per second; making the rows is not counted, pymilvus' own work is, for both alike."""
    seconds = 0.0
    for first in range(0, len(vectors), BATCH):
        rows = [
            {"id": first + n, "part": int(parts[first + n]), "text": f"row {first + n}", "vector": vector}
            for n, vector in enumerate(vectors[first : first + BATCH].tolist())
        ]
        started = time.perf_counter()
        client.insert(name, rows)
        seconds += time.perf_counter() - started
    return len(vectors) / seconds


def settle(client, name, rows):
    """Flushes, compacts, and waits until everything is indexed: at rest, not on the way there, is what is measured."""
    started = time.perf_counter()
    client.flush(name)
    client.load_collection(name)
    compacted(client, name, started)
    while time.perf_counter() - started < READY_MAX_S:
        index = client.describe_index(name, "vector")
        if int(index.get("pending_index_rows") or 0) == 0 and int(index.get("indexed_rows") or rows) >= rows:
            break
        time.sleep(0.2)
    return time.perf_counter() - started


def compacted(client, name, started):
    try:
        job = client.compact(name)
        while client.get_compaction_state(job) != "Completed" and time.perf_counter() - started < READY_MAX_S:
            time.sleep(0.2)
    except MilvusException as error:
        # Who cannot be asked for it is at rest as it is.
        print(f"{name} is not compacted: {error.message}", file=sys.stderr)


def search(client, name, queries, ef, condition=""):
    """Times in milliseconds, and the keys that were found."""
    params = {"params": {} if ef is None else {"ef": ef}}
    times, found = [], []
    for query in queries.tolist():
        started = time.perf_counter()
        hits = client.search(
            name, [query], anns_field="vector", limit=LIMIT, search_params=params, filter=condition
        )
        times.append((time.perf_counter() - started) * 1_000)
        found.append({hit["id"] for hit in hits[0]})
    return times, found


def recall(found, wanted):
    return float(np.mean([len(one & other) / len(other) for one, other in zip(found, wanted)]))


def searches(client, name, queries, wanted, condition=""):
    """The first breadth with enough recall. A round before it fills the server's caches."""
    for ef in EFS:
        _, found = search(client, name, queries[:50], ef, condition)
        if recall(found, wanted[:50]) >= RECALL or ef == EFS[-1]:
            times, found = search(client, name, queries, ef, condition)
            return {
                "qps": len(times) / (sum(times) / 1_000),
                "p50_ms": float(np.percentile(times, 50)),
                "p99_ms": float(np.percentile(times, 99)),
                "recall": recall(found, wanted),
            }


def by_key(client, name, rows, count):
    times = []
    for key in np.random.default_rng(3).integers(0, rows, count).tolist():
        started = time.perf_counter()
        found = client.query(name, filter=f"id == {key}", output_fields=["id", "text", "vector"])
        times.append((time.perf_counter() - started) * 1_000)
        assert len(found) == 1 and found[0]["text"] == f"row {key}", found
    return {"qps": len(times) / (sum(times) / 1_000), "p99_ms": float(np.percentile(times, 99))}


def main():
    uri, (pid, rows, wide_rows, count) = sys.argv[1], map(int, sys.argv[2:6])
    client = MilvusClient(uri)
    figures = {}
    vectors, queries = clustered(rows, DIM, 1), clustered(count, DIM, 2)
    parts = np.random.default_rng(5).permutation(rows) % PARTS

    before = resident_mib(pid)
    collection(client, "narrow", DIM)
    figures["insert_128"] = insert(client, "narrow", vectors, parts)
    figures["settle_s"] = settle(client, "narrow", rows)
    figures["search"] = searches(client, "narrow", queries, nearest(vectors, queries))
    figures["memory_mib_per_million"] = (resident_mib(pid) - before) * 1_000_000 / rows
    for percent in (1, 10, 50):
        below = percent * PARTS // 100
        wanted = nearest(vectors, queries, parts < below)
        figures[f"filtered_{percent}"] = searches(client, "narrow", queries, wanted, f"part < {below}")
    figures["by_key"] = by_key(client, "narrow", rows, count)

    collection(client, "wide", WIDE_DIM)
    wide = clustered(wide_rows, WIDE_DIM, 4)
    figures["insert_768"] = insert(client, "wide", wide, parts)
    client.close()
    print(json.dumps(figures))


main()
