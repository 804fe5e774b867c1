"""Searches against numpy: the same rows in the same order with the same scores."""

import numpy as np
from harness import refused, run, same, vector_index
from pymilvus import DataType, MilvusClient

DIM = 24
random = np.random.default_rng(7)
VECTORS = random.normal(size=(1500, DIM)).astype(np.float32)
QUERIES = random.normal(size=(5, DIM)).astype(np.float32)
GROUP = np.arange(len(VECTORS)) % 10


def scores(metric, query, vectors=VECTORS):
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return ((vectors - query) ** 2).sum(axis=1)
    inner = vectors @ query
    return inner if metric == "IP" else inner / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def nearest(metric, query, among, limit, offset=0):
    score = scores(metric, query)
    order = sorted(among, key=lambda key: score[key] if metric == "L2" else -score[key])
    return [(key, score[key]) for key in order[offset : offset + limit]]


def check(hits, expected, what):
    same([hit["id"] for hit in hits], [int(key) for key, _ in expected], what)
    for hit, (_, score) in zip(hits, expected):
        assert abs(hit["distance"] - score) <= 1e-4 * max(1.0, abs(score)), f"{what}: {hit} instead of {score}"


def collection(client, metric):
    name = f"by_{metric}"
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("group", DataType.INT32)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema, index_params=vector_index(metric))
    client.create_partition(name, "late")
    rows = [{"id": i, "group": int(GROUP[i]), "vector": VECTORS[i]} for i in range(len(VECTORS))]
    client.insert(name, rows[:700])
    client.flush(name)
    client.insert(name, rows[700:1200])
    client.insert(name, rows[1200:], partition_name="late")
    return name


def every_metric_finds_what_numpy_finds(client):
    for metric in ("L2", "IP", "COSINE"):
        name = collection(client, metric)
        everything = range(len(VECTORS))
        for limit, offset in ((10, 0), (1, 0), (200, 0), (10, 25)):
            found = client.search(name, data=list(QUERIES), limit=limit, search_params={"offset": offset})
            same(len(found), len(QUERIES))
            for query, hits in zip(QUERIES, found):
                check(hits, nearest(metric, query, everything, limit, offset), f"{metric} limit {limit} offset {offset}")


def filters_hold_in_searches(client):
    for metric in ("L2", "IP", "COSINE"):
        name = f"by_{metric}"
        for text, among in (
            ("group == 3", np.flatnonzero(GROUP == 3)),
            ("group in [1, 2] and id >= 690", [i for i in range(690, len(VECTORS)) if GROUP[i] in (1, 2)]),
            ("id in [5, 705, 1205]", [5, 705, 1205]),
            ("id < 0", []),
        ):
            hits = client.search(name, data=[QUERIES[0]], limit=20, filter=text)[0]
            check(hits, nearest(metric, QUERIES[0], among, 20), f"{metric} {text}")


def output_fields_come_with_hits(client):
    hits = client.search("by_L2", data=[QUERIES[1]], limit=5, output_fields=["group", "vector"])[0]
    for hit in hits:
        same(hit["entity"]["group"], GROUP[hit["id"]])
        assert np.array_equal(np.asarray(hit["entity"]["vector"], dtype=np.float32), VECTORS[hit["id"]])


def partitions_bound_a_search(client):
    hits = client.search("by_IP", data=[QUERIES[2]], limit=7, partition_names=["late"])[0]
    check(hits, nearest("IP", QUERIES[2], range(1200, len(VECTORS)), 7), "late")


def ranges_bound_a_search(client):
    for metric, radius, inner in (("L2", 40.0, 30.0), ("IP", 3.0, 8.0), ("COSINE", 0.1, 0.3)):
        score = scores(metric, QUERIES[3])
        if metric == "L2":
            among = [i for i in range(len(VECTORS)) if inner <= score[i] < radius]
        else:
            among = [i for i in range(len(VECTORS)) if radius < score[i] <= inner]
        assert 20 < len(among) < 1400, f"{metric}: {len(among)}"
        params = {"params": {"radius": radius, "range_filter": inner}}
        hits = client.search(f"by_{metric}", data=[QUERIES[3]], limit=20, search_params=params)[0]
        check(hits, nearest(metric, QUERIES[3], among, 20), f"{metric} in range")


def deleted_and_replaced_rows_are_not_found(client):
    name, query = "by_L2", QUERIES[4]
    first = [key for key, _ in nearest("L2", query, range(len(VECTORS)), 3)]
    client.delete(name, ids=[int(first[0])])
    client.upsert(name, [{"id": int(first[1]), "group": 0, "vector": query + 100}])
    hits = client.search(name, data=[query], limit=5)[0]
    left = [i for i in range(len(VECTORS)) if i not in first[:2]]
    check(hits, nearest("L2", query, left, 5), "after delete and upsert")


def what_is_no_search_is_refused(client):
    with refused(1100, "dim"):
        client.search("by_L2", data=[[1.0] * (DIM - 1)], limit=3)
    with refused(1100, "metric type not match"):
        client.search("by_L2", data=[QUERIES[0]], limit=3, search_params={"metric_type": "IP"})
    with refused(1100, "topk"):
        client.search("by_L2", data=[QUERIES[0]], limit=16385)
    with refused(1100):
        client.search("by_L2", data=[QUERIES[0]], limit=3, anns_field="group")
    with refused(10, "not served"):
        client.search("by_L2", data=[QUERIES[0]], limit=3, order_by_fields=[{"field": "group"}])
    for metric in ("L2", "IP", "COSINE"):
        client.drop_collection(f"by_{metric}")


run(
    every_metric_finds_what_numpy_finds,
    filters_hold_in_searches,
    output_fields_come_with_hits,
    partitions_bound_a_search,
    ranges_bound_a_search,
    deleted_and_replaced_rows_are_not_found,
    what_is_no_search_is_refused,
)
