"""Index types and their parameters, groups, hybrid searches, iterators, searches by ids: against numpy, and after restores."""

from collections import defaultdict

import numpy as np
from harness import plain, refused, restored, run, same
from pymilvus import AnnSearchRequest, DataType, Function, FunctionType, MilvusClient, RRFRanker, WeightedRanker
from pymilvus.client.iterator import SearchIterator
from pymilvus.grpc_gen import milvus_pb2

NAME, DIM, ROWS = "reading", 16, 600
MODES = ("clone", "copy")
random = np.random.default_rng(11)
TITLES = random.normal(size=(ROWS, DIM)).astype(np.float32)
BODIES = random.normal(size=(ROWS, DIM)).astype(np.float32)
TITLE, BODY = random.normal(size=(2, DIM)).astype(np.float32)
VECTOR_INDEXES = {
    "FLAT": {},
    "IVF_FLAT": {"nlist": 128},
    "IVF_SQ8": {"nlist": 64},
    "IVF_PQ": {"nlist": 64, "m": 4, "nbits": 8},
    "IVF_RABITQ": {"nlist": 64},
    "SCANN": {"nlist": 64, "with_raw_data": True},
    "HNSW": {"M": 16, "efConstruction": 200},
    "HNSW_SQ": {"M": 16, "efConstruction": 200, "sq_type": "SQ8"},
    "DISKANN": {},
    "AUTOINDEX": {},
}
SCALAR_INDEXES = {
    "author": ("BITMAP", {}),
    "name": ("Trie", {}),
    "price": ("STL_SORT", {}),
    "number": ("INVERTED", {}),
}
PATHS = {'meta["a"]': "double", 'meta["b"]["c"]': "varchar"}


def row(key):
    return {
        "id": key,
        "author": key % 37,
        "name": f"n{key % 50}" if key % 5 else None,
        "price": key / 8,
        "number": key % 7,
        "meta": {"a": key % 9, "b": {"c": f"c{key % 4}"}},
        "title": TITLES[key],
        "body": BODIES[key],
        "extra": key % 3,
    }


def filled(client):
    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("author", DataType.INT32)
    schema.add_field("name", DataType.VARCHAR, max_length=20, nullable=True)
    schema.add_field("price", DataType.DOUBLE)
    schema.add_field("number", DataType.INT64)
    schema.add_field("meta", DataType.JSON)
    schema.add_field("title", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("body", DataType.FLOAT_VECTOR, dim=DIM)
    params = MilvusClient.prepare_index_params()
    params.add_index("title", index_type="HNSW", metric_type="L2", M=16, efConstruction=200)
    params.add_index("body", index_type="IVF_FLAT", metric_type="COSINE", params={"nlist": 128})
    for field, (index_type, options) in SCALAR_INDEXES.items():
        params.add_index(field, index_type=index_type, **options)
    for path, cast in PATHS.items():
        params.add_index("meta", index_type="INVERTED", index_name=path[6], params={"json_path": path, "json_cast_type": cast})
    client.create_collection(NAME, schema=schema, index_params=params)
    client.insert(NAME, [row(key) for key in range(400)])
    client.flush(NAME)
    client.insert(NAME, [row(key) for key in range(400, ROWS)])
    client.delete(NAME, ids=[0, 1])


LIVE = range(2, ROWS)


def distances(vectors, query, metric):
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return ((vectors - query) ** 2).sum(axis=1)
    return vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def nearest(vectors, query, metric, among=LIVE):
    """(key, score) of all, nearest first."""
    score = distances(vectors, query, metric)
    return sorted(((key, score[key]) for key in among), key=lambda hit: hit[1] if metric == "L2" else -hit[1])


def ids(hits):
    return [hit["id"] for hit in hits]


def every_vector_index_is_taken_and_searches_are_exact(client):
    expected = [key for key, _ in nearest(TITLES, TITLE, "L2")[:30]]
    for index_type, options in VECTOR_INDEXES.items():
        client.release_collection(NAME)
        client.drop_index(NAME, "title")
        params = MilvusClient.prepare_index_params()
        params.add_index("title", index_type=index_type, metric_type="L2", params=options)
        client.create_index(NAME, params)
        client.load_collection(NAME)
        found = client.describe_index(NAME, "title")
        same((found["index_type"], found["metric_type"]), (index_type, "L2"))
        same({key: found[key] for key in options}, {key: str(value) for key, value in options.items()} if index_type != "SCANN" else {"nlist": "64", "with_raw_data": "True"})
        same((found["total_rows"], found["indexed_rows"], found["pending_index_rows"]), (ROWS, ROWS, 0))
        same(found["state"], "Finished")
        as_named = index_type in ("FLAT", "AUTOINDEX", "DISKANN")
        same(found.get("elanus.served_by"), None if as_named else "VAMANA", index_type)
        search = {"params": {"ef": 64, "nprobe": 8, "search_list": 64, "reorder_k": 64}}
        same(ids(client.search(NAME, [TITLE], anns_field="title", limit=30, search_params=search)[0]), expected, index_type)


def scalar_indexes_say_what_serves_them(client):
    for field, (index_type, _) in SCALAR_INDEXES.items():
        found = client.describe_index(NAME, field)
        same((found["index_type"], found["elanus.served_by"]), (index_type, "scan of the column"))
    for path, cast in PATHS.items():
        found = client.describe_index(NAME, path[6])
        same((found["json_path"], found["json_cast_type"], found["field_name"]), (path, cast, "meta"))
    same(len(client.list_indexes(NAME, field_name="meta")), 2)
    client.create_index(NAME, index("extra", "INVERTED", params={"json_path": "extra", "json_cast_type": "double"}))
    same(client.describe_index(NAME, "extra")["json_path"], "extra")


def index(field, index_type, **options):
    params = MilvusClient.prepare_index_params()
    params.add_index(field, index_type=index_type, **options)
    return params


def wrong_index_parameters_are_refused(client):
    client.release_collection(NAME)
    client.drop_index(NAME, "title")
    for index_type, options, fragment in (
        ("HNSW", {"M": 1}, "param 'M' (1) should be in range [2, 2048]"),
        ("HNSW", {"M": "x"}, "invalid integer value, key: 'M', value: 'x'"),
        ("HNSW", {"efConstruction": -1}, "should be in range [1, 2147483647]"),
        ("IVF_FLAT", {"nlist": 65537}, "should be in range [1, 65536]"),
        ("IVF_PQ", {"m": 5}, "multiple of the number of subquantizers"),
        ("BIN_FLAT", {}, "data type FloatVector can't build with this index BIN_FLAT"),
        ("HNSWX", {}, "invalid index type: HNSWX"),
    ):
        with refused(1100, fragment):
            client.create_index(NAME, index("title", index_type, metric_type="L2", params=options))
    with refused(1100, "float vector index does not support metric type: JACCARD"):
        client.create_index(NAME, index("title", "HNSW", metric_type="JACCARD"))
    with refused(1100, "TRIE are only supported on varchar field"):
        client.create_index(NAME, index("id", "Trie"))
    with refused(1101, "json index must specify cast type"):
        client.create_index(NAME, index("meta", "INVERTED", index_name="other"))
    client.create_index(NAME, index("title", "HNSW", metric_type="L2", params={"M": 16, "efConstruction": 200}))
    client.load_collection(NAME)
    for params, fragment in (
        ({"ef": 5}, "ef(5) should be larger than k(10)"),
        ({"ef": 0}, "param 'ef' (0) should be in range"),
        ({"ef": True}, "invalid integer value, key: 'ef'"),
        ({"radius": "far"}, "radius"),
        ({"radius": 1.0, "range_filter": 2.0}, "range_filter must be less than radius"),
    ):
        with refused(1100, fragment):
            client.search(NAME, [TITLE], anns_field="title", limit=10, search_params={"params": params})
    with refused(1100, "param 'nprobe' (65537) should be in range [1, 65536]"):
        client.search(NAME, [BODY], anns_field="body", limit=10, search_params={"params": {"nprobe": 65537}})


def grouped(field, vectors, query, metric, limit, size, offset=0, among=LIVE):
    groups = defaultdict(list)
    for key, _ in nearest(vectors, query, metric, among):
        if len(groups[row(key)[field]]) < size:
            groups[row(key)[field]].append(key)
    return [key for group in list(groups.values())[offset : offset + limit] for key in group]


def hits_come_in_groups(client):
    for field in ("author", "name", "number"):
        for limit, size, offset in ((5, 1, 0), (10, 3, 0), (4, 2, 3), (100, 1, 0)):
            hits = client.search(
                NAME, [TITLE], anns_field="title", limit=limit, group_by_field=field, group_size=size,
                strict_group_size=True, output_fields=[field], search_params={"offset": offset},
            )[0]
            same(ids(hits), grouped(field, TITLES, TITLE, "L2", limit, size, offset), f"{field} {limit} {size} {offset}")
            for hit in hits:
                same(hit["entity"][field], row(hit["id"])[field])
    even = [key for key in LIVE if key % 2 == 0]
    hits = client.search(NAME, [BODY, TITLE], anns_field="body", limit=6, group_by_field="author", group_size=2, filter="id % 2 == 0")
    same(ids(hits[0]), grouped("author", BODIES, BODY, "COSINE", 6, 2, among=even))
    same(ids(hits[1]), grouped("author", BODIES, TITLE, "COSINE", 6, 2, among=even))
    for options, fragment in (
        ({"group_by_field": "nothing"}, "groupBy field not found in schema"),
        ({"group_by_field": "meta"}, "unsupported data type JSON for group by operator"),
        ({"group_by_field": "price"}, "unsupported data type Double for group by operator"),
        ({"group_by_field": "author", "group_size": 0}, "failed to do search_groupby"),
        ({"group_by_field": "author", "group_size": 11}, "exceeds configured max group size:10"),
        ({"group_by_field": "author", "search_params": {"params": {"radius": 3}}}, "Not allowed to do range-search"),
    ):
        with refused(1100, fragment):
            client.search(NAME, [TITLE], anns_field="title", limit=3, **options)


def two(limit=50, title="", body=""):
    return [
        AnnSearchRequest([TITLE], "title", {"params": {"ef": 100}}, limit, expr=title),
        AnnSearchRequest([BODY], "body", {"params": {"nprobe": 8}}, limit, expr=body),
    ]


def ranked(score, lists):
    sums = defaultdict(float)
    for place_of, hits in lists:
        for place, (key, found) in enumerate(hits):
            sums[key] += score(place_of, place, found)
    return sorted(sums.items(), key=lambda hit: (-hit[1], hit[0]))


def close(hits, expected, what=""):
    same(ids(hits), [key for key, _ in expected], what)
    for hit, (_, score) in zip(hits, expected):
        assert abs(hit["distance"] - score) < 1e-5, (what, hit, score)


def hybrid_searches_rank_like_the_formulas(client):
    lists = [("L2", nearest(TITLES, TITLE, "L2")[:50]), ("COSINE", nearest(BODIES, BODY, "COSINE")[:50])]
    by_place = ranked(lambda _, place, __: 1 / (60 + place + 1), lists)
    hits = client.hybrid_search(NAME, two(), RRFRanker(), limit=20, output_fields=["author", "extra"])[0]
    close(hits, by_place[:20], "rrf")
    for hit in hits:
        same(plain(dict(hit["entity"])), {"author": hit["id"] % 37, "extra": hit["id"] % 3})
    close(client.hybrid_search(NAME, two(), RRFRanker(), limit=10, offset=5)[0], by_place[5:15], "rrf offset")
    k = ranked(lambda _, place, __: 1 / (3 + place + 1), lists)
    close(client.hybrid_search(NAME, two(), RRFRanker(3), limit=20)[0], k[:20], "rrf 3")

    def normal(metric, score):
        return 1 - 2 * np.arctan(score) / np.pi if metric == "L2" else (1 + score) / 2

    weights = {"L2": 0.3, "COSINE": 0.9}
    weighted = ranked(lambda metric, _, score: weights[metric] * normal(metric, score), lists)
    close(client.hybrid_search(NAME, two(), WeightedRanker(0.3, 0.9), limit=20)[0], weighted[:20], "weighted")
    function = Function(name="r", input_field_names=[], function_type=FunctionType.RERANK, params={"reranker": "rrf", "k": 3})
    close(client.hybrid_search(NAME, two(), function, limit=20)[0], k[:20], "function")
    lists = [("L2", nearest(TITLES, TITLE, "L2", [k for k in LIVE if k < 300])[:10]), ("COSINE", [])]
    filtered = client.hybrid_search(NAME, two(10, "id < 300", "id < 0"), RRFRanker(), limit=20)[0]
    close(filtered, ranked(lambda _, place, __: 1 / (60 + place + 1), lists), "filters")
    groups = client.hybrid_search(
        NAME, two(), RRFRanker(), limit=4, group_by_field="author", group_size=2, output_fields=["author"],
    )[0]
    # Each search finds two of each of the 37 authors.
    kept = [[hit for hit in nearest(vectors, query, metric) if hit[0] in grouped("author", vectors, query, metric, 37, 2)]
            for vectors, query, metric in ((TITLES, TITLE, "L2"), (BODIES, BODY, "COSINE"))]
    best = defaultdict(list)
    for key, _ in ranked(lambda _, place, __: 1 / (60 + place + 1), enumerate(kept)):
        best[key % 37].append(key)
    same(ids(groups), [key for group in list(best.values())[:4] for key in group[:2]])
    for reqs, ranker, fragment in (
        (two(), WeightedRanker(0.3), "[expected=2][actual=1]"),
        (two(), WeightedRanker(0.3, 1.5), "rank param weight should be in range [0, 1]"),
        (two(), RRFRanker(0), "The rank params k should be in range (0, 16384)"),
        (two(20000), RRFRanker(), "topk [20000] is invalid"),
        ([AnnSearchRequest([TITLE[:3]], "title", {}, 5)] * 2, RRFRanker(), "dimension mismatch"),
    ):
        with refused(1100, fragment):
            client.hybrid_search(NAME, reqs, ranker, limit=10)
    with refused(1100, "(offset+limit)"):
        client.hybrid_search(NAME, two(), RRFRanker(), limit=10000, offset=10000)


def searches_take_the_vectors_of_rows(client):
    hits = client.search(NAME, ids=[77, 5, 77], anns_field="title", limit=5)
    for key, found in zip((77, 5, 77), hits):
        same(ids(found), [k for k, _ in nearest(TITLES, TITLES[key], "L2")[:5]])
    with refused(1100, "no row has id 0"):
        client.search(NAME, ids=[5, 0], anns_field="title", limit=5)
    with refused(1100, "no values of id"):
        client.search(NAME, ids=["5"], anns_field="title", limit=5)


def drained(iterator, size):
    pages = []
    while True:
        page = iterator.next()
        if page is None or len(page) == 0:
            break
        pages.append(page if isinstance(page, list) else [page[at] for at in range(len(page))])
    iterator.close()
    same([len(page) for page in pages[:-1]], [size] * (len(pages) - 1))
    return [hit for page in pages for hit in page]


def query_iterators_see_every_row_once(client):
    for text, among in (("", LIVE), ("author < 10", [k for k in LIVE if k % 37 < 10]), ('name == "n7"', [k for k in LIVE if k % 50 == 7])):
        found = drained(client.query_iterator(NAME, batch_size=50, filter=text, output_fields=["author", "price"]), 50)
        same([r["id"] for r in found], list(among), text)
        same([(r["author"], r["price"]) for r in found], [(k % 37, k / 8) for k in among], text)
    same(len(drained(client.query_iterator(NAME, batch_size=50, limit=120), 50)), 120)


def iterators_read_one_state(client):
    pages = client.query_iterator(NAME, batch_size=100, output_fields=["id"])
    found = client.search_iterator(NAME, [TITLE], batch_size=100, anns_field="title")
    first, nearest_first = pages.next(), found.next()
    client.insert(NAME, [{**row(5), "id": 10_000}, {**row(6), "id": -1}])
    client.delete(NAME, filter="id in [300, 301, 302]")
    rest, nearest_rest = drained(pages, 100), drained(found, 100)
    same([r["id"] for r in first + rest], list(LIVE))
    same([hit["id"] for hit in list(nearest_first) + nearest_rest], [k for k, _ in nearest(TITLES, TITLE, "L2")])
    client.delete(NAME, ids=[10_000, -1])
    client.upsert(NAME, [row(key) for key in (300, 301, 302)])


def search_iterators_see_every_row_once_nearest_first(client):
    for field, vectors, query, metric in (("title", TITLES, TITLE, "L2"), ("body", BODIES, BODY, "COSINE")):
        expected = nearest(vectors, query, metric)
        found = drained(client.search_iterator(NAME, [query], batch_size=70, anns_field=field, output_fields=["author"]), 70)
        same([hit["id"] for hit in found], [key for key, _ in expected], field)
        found = drained(client.search_iterator(NAME, [query], batch_size=70, limit=200, anns_field=field), 70)
        same([hit["id"] for hit in found], [key for key, _ in expected[:200]], field)
        odd = client.search_iterator(NAME, [query], batch_size=30, anns_field=field, external_filter_func=lambda hits: [h for h in hits if h["id"] % 2], limit=90)
        same([hit["id"] for hit in drained(odd, 30)], [key for key, _ in expected if key % 2][:90])
        first = SearchIterator(
            client._get_connection(), None, NAME, [query], field, {"metric_type": metric, "params": {}}, batch_size=40,
            schema=client.describe_collection(NAME),
        )
        found = []
        for _ in range(8):
            found += list(first.next())
        same([hit.id for hit in found], [key for key, _ in expected[: len(found)]], f"first protocol, {field}")
        assert len(found) >= 200, len(found)


def ties_are_neither_lost_nor_repeated_by_iterators(client):
    client.create_collection("ties", dimension=2, metric_type="L2")
    client.insert("ties", [{"id": key, "vector": [1.0, float(key // 50)]} for key in range(300)])
    found = drained(client.search_iterator("ties", [[1.0, 0.0]], batch_size=35), 35)
    same([hit["id"] for hit in found], list(range(300)))
    client.drop_collection("ties")


def what_is_over_the_limits_is_refused(client):
    with refused(1100, "topk [16385] is invalid, it should be in range [1, 16384], but got 16385"):
        client.search(NAME, [TITLE], anns_field="title", limit=16385)
    with refused(1100, "(offset+limit) should be in range [1, 16384], but got 16394"):
        client.search(NAME, [TITLE], anns_field="title", limit=10, search_params={"offset": 16384})
    with refused(1100, "invalid max query result window, (offset+limit) should be in range [1, 16384], but got 16385"):
        client.query(NAME, filter="id > 0", limit=16385)


def definition(client, name):
    found = {}
    for one in client.list_indexes(name):
        found[one] = {key: value for key, value in client.describe_index(name, one).items() if "rows" not in key}
    return found


def restore_as(client, snapshot, source, target, mode):
    request = milvus_pb2.RestoreSnapshotRequest(name=snapshot, collection_name=source, target_collection_name=target)
    stub = client._get_connection()._stub
    answer = stub.RestoreSnapshot(request, timeout=30, metadata=(("elanus-restore-mode", mode),))
    same(answer.status.code, 0, answer.status.reason)
    restored(client, answer.job_id)
    client.load_collection(target)


def indexes_and_answers_survive_a_snapshot_in_both_modes(client):
    client.create_snapshot("indexed", NAME)
    before = definition(client, NAME)
    assert len(before) == 9, list(before)
    for mode in MODES:
        target = f"{NAME}_{mode}"
        restore_as(client, "indexed", NAME, target, mode)
        same(definition(client, target), before, mode)
        for options in (
            {"anns_field": "title", "group_by_field": "name", "group_size": 2},
            {"anns_field": "body", "filter": 'meta["a"] in [1, 2]', "output_fields": ["*"]},
        ):
            found, expected = (client.search(name, [TITLE], limit=20, **options) for name in (target, NAME))
            same(plain([dict(hit) for hit in found[0]]), plain([dict(hit) for hit in expected[0]]), mode)
        found, expected = (client.hybrid_search(name, two(), RRFRanker(), limit=20) for name in (target, NAME))
        same(ids(found[0]), ids(expected[0]), mode)
        client.drop_collection(target)
    client.drop_snapshot("indexed", NAME)


LISTS = [
    {
        "id": key,
        "ints": None if key % 10 == 0 else [key % 5, key % 7, 100][: key % 4],
        "words": [f"w{key % 3}", "x"],
        "meta": {"l": [key % 4, "a", [1]]} if key % 3 else {},
        "bits": bytes([key % 256, 255]),
        "sparse": {key % 50: 1.0, 60: 0.5},
        "half": np.asarray([key, 1.0, 2.0, 3.0], dtype=np.float16),
    }
    for key in range(120)
]
LIST_FILTERS = {
    "array_contains(ints, 3)": lambda r: r["ints"] is not None and 3 in r["ints"],
    "array_contains_all(ints, [1, 100])": lambda r: r["ints"] is not None and {1, 100} <= set(r["ints"]),
    "array_contains_any(ints, [4, 6])": lambda r: r["ints"] is not None and {4, 6} & set(r["ints"]),
    "array_length(ints) == 2": lambda r: r["ints"] is not None and len(r["ints"]) == 2,
    "ints[0] == 1 or ints[1] > 5": lambda r: r["ints"] is not None and (r["ints"][:1] == [1] or r["ints"][1:2] == [6] or len(r["ints"]) > 1 and r["ints"][1] > 5),
    "ints == [1]": lambda r: r["ints"] == [1],
    "ints is null": lambda r: r["ints"] is None,
    "words[0] == 'w1' and array_contains(words, 'x')": lambda r: r["words"][0] == "w1",
    "words[0] like 'w%' and not (words[0] in ['w0', 'w1'])": lambda r: r["words"][0] == "w2",
    "json_contains(meta['l'], 2)": lambda r: r["meta"].get("l", [None])[0] == 2,
    "json_contains(meta['l'], [1])": lambda r: "l" in r["meta"],
    "json_contains_any(meta['l'], [0, 3])": lambda r: r["meta"].get("l", [None])[0] in (0, 3),
    "json_contains_all(meta['l'], [0, 'a'])": lambda r: r["meta"].get("l", [None])[0] == 0,
    "array_length(meta['l']) == 3": lambda r: "l" in r["meta"],
}
OTHER_INDEXES = {
    "bits": (["BIN_FLAT", "BIN_IVF_FLAT"], {"nlist": 16}, "HAMMING"),
    "sparse": (["SPARSE_INVERTED_INDEX", "SPARSE_WAND"], {"drop_ratio_build": 0.2}, "IP"),
    "half": (["HNSW", "IVF_SQ8", "DISKANN", "FLAT"], {"M": 8}, "L2"),
}


def lists_are_filtered(client):
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("ints", DataType.ARRAY, element_type=DataType.INT64, max_capacity=10, nullable=True)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=10, max_length=20)
    schema.add_field("meta", DataType.JSON)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("half", DataType.FLOAT16_VECTOR, dim=4)
    params = MilvusClient.prepare_index_params()
    for field, (index_types, options, metric) in OTHER_INDEXES.items():
        params.add_index(field, index_type=index_types[0], metric_type=metric, params=options)
    params.add_index("ints", index_type="INVERTED")
    params.add_index("words", index_type="BITMAP")
    client.create_collection("lists", schema=schema, index_params=params)
    client.insert("lists", LISTS)
    for text, matches in LIST_FILTERS.items():
        same(found_by(client, "lists", text), [r["id"] for r in LISTS if matches(r)], text)
    given = {"some": [4, 6], "one": [1]}
    same([r["id"] for r in client.query("lists", filter="array_contains_any(ints, {some}) or ints == {one}", filter_params=given)],
         [r["id"] for r in LISTS if r["ints"] is not None and ({4, 6} & set(r["ints"]) or r["ints"] == [1])])
    with refused(1100, "a string cannot be in an array of integers at line 1 column 1"):
        client.query("lists", filter="array_contains(ints, 'a')")


def found_by(client, name, text):
    return [found["id"] for found in client.query(name, filter=text)]


def other_vectors_take_their_indexes(client):
    queries = {"bits": bytes([5, 255]), "sparse": {7: 1.0}, "half": np.asarray([30, 1, 2, 3], dtype=np.float16)}
    options = {"params": {"drop_ratio_search": 0.1, "nprobe": 4, "ef": 50, "search_list": 50}}
    nearest_of = {}
    for field, (index_types, build, metric) in OTHER_INDEXES.items():
        for index_type in index_types:
            client.release_collection("lists")
            client.drop_index("lists", field)
            client.create_index("lists", index(field, index_type, metric_type=metric, params=build))
            client.load_collection("lists")
            same(client.describe_index("lists", field)["index_type"], index_type)
            hits = client.search("lists", [queries[field]], anns_field=field, limit=5, search_params=options)[0]
            same(nearest_of.setdefault(field, ids(hits)), ids(hits), index_type)
    same((nearest_of["bits"][0], nearest_of["sparse"][0], nearest_of["half"][0]), (5, 7, 30))
    same(ids(client.search("lists", ids=[30], anns_field="half", limit=5)[0]), nearest_of["half"])
    same(client.search("lists", ids=[8], anns_field="sparse", limit=1)[0][0]["distance"], 1.25)
    same(len(client.search("lists", ids=[5], anns_field="bits", limit=4, group_by_field="id")[0]), 4)
    for field, index_type, fragment in (
        ("bits", "HNSW", "data type BinaryVector can't build with this index HNSW"),
        ("sparse", "BIN_FLAT", "data type SparseFloatVector can't build with this index BIN_FLAT"),
    ):
        client.release_collection("lists")
        client.drop_index("lists", field)
        with refused(1100, fragment):
            client.create_index("lists", index(field, index_type, metric_type=OTHER_INDEXES[field][2]))
        client.create_index("lists", index(field, "AUTOINDEX"))
        same(client.describe_index("lists", field)["metric_type"], OTHER_INDEXES[field][2])
    client.load_collection("lists")
    client.create_snapshot("lists", "lists")
    before = definition(client, "lists")
    for mode in MODES:
        target = f"lists_{mode}"
        restore_as(client, "lists", "lists", target, mode)
        same(definition(client, target), before, mode)
        for text, matches in LIST_FILTERS.items():
            same(found_by(client, target, text), [r["id"] for r in LISTS if matches(r)], f"{mode} {text}")


def everything_is_flushed_at_once(client):
    client._get_connection().flush_all()
    stub = client._get_connection()._stub
    target = milvus_pb2.FlushAllTarget(collection_names=[NAME])
    answer = stub.FlushAll(milvus_pb2.FlushAllRequest(flush_targets=[target]))
    same([one.collection_name for one in answer.flush_results[0].collection_results], [NAME])
    target = milvus_pb2.FlushAllTarget(collection_names=["nothing"])
    same(stub.FlushAll(milvus_pb2.FlushAllRequest(flush_targets=[target])).status.code, 100)


def several_collections_are_described_at_once(client):
    stub = client._get_connection()._stub
    answer = stub.BatchDescribeCollection(milvus_pb2.BatchDescribeCollectionRequest(collection_name=[NAME, "nothing"]))
    same([one.status.code for one in answer.responses], [0, 100])
    same(answer.responses[0].collection_name, NAME)


def nothing_is_left_for_the_next_script(client):
    for name in client.list_collections():
        client.drop_collection(name)


run(
    filled,
    every_vector_index_is_taken_and_searches_are_exact,
    scalar_indexes_say_what_serves_them,
    wrong_index_parameters_are_refused,
    hits_come_in_groups,
    hybrid_searches_rank_like_the_formulas,
    searches_take_the_vectors_of_rows,
    query_iterators_see_every_row_once,
    search_iterators_see_every_row_once_nearest_first,
    iterators_read_one_state,
    ties_are_neither_lost_nor_repeated_by_iterators,
    what_is_over_the_limits_is_refused,
    indexes_and_answers_survive_a_snapshot_in_both_modes,
    several_collections_are_described_at_once,
    everything_is_flushed_at_once,
    lists_are_filtered,
    other_vectors_take_their_indexes,
    nothing_is_left_for_the_next_script,
)
