"""Every type of field: written, read, searched exactly, kept by snapshots, restores and compaction; fields added later."""

import json
import struct
import subprocess
import sys

import numpy
from harness import compacted, count, keys, plain, refused, restore, run, same
from harness import rows as by_text
from pymilvus import DataType, MilvusClient

DATA, PROGRAM = sys.argv[2:4]
ELEMENTS = {
    "bools": (DataType.BOOL, lambda n: [n % 2 == 0, n % 3 == 0]),
    "i8s": (DataType.INT8, lambda n: [-128, n % 128, 127][: n % 4]),
    "i16s": (DataType.INT16, lambda n: [-32768, n, 32767][: n % 4]),
    "i32s": (DataType.INT32, lambda n: [-(2**31), n, 2**31 - 1][: n % 4]),
    "i64s": (DataType.INT64, lambda n: [-(2**63), n, 2**63 - 1][: n % 4]),
    "floats": (DataType.FLOAT, lambda n: [n / 8, -0.5][: n % 3]),
    "doubles": (DataType.DOUBLE, lambda n: [n / 7, -1e300][: n % 3]),
    "texts": (DataType.VARCHAR, lambda n: [f"t{n}", "", "ключ"][: n % 4]),
}
DIM = 16
VECTORS = {
    "float": DataType.FLOAT_VECTOR,
    "half": DataType.FLOAT16_VECTOR,
    "brain": DataType.BFLOAT16_VECTOR,
    "byte": DataType.INT8_VECTOR,
}
KEYS = range(300)
chance = numpy.random.default_rng(7)


def brain(numbers):
    """The upper halves of 32-bit floats: numbers that need no more bits, so that nothing is rounded."""
    return numpy.asarray(numbers, dtype="<f4").view("<u2")[1::2].tobytes()


def from_brain(found):
    return (numpy.frombuffer(found, dtype="<u2").astype("<u4") << 16).view("<f4")


def indexes(metrics):
    params = MilvusClient.prepare_index_params()
    for field, metric in metrics.items():
        params.add_index(field, index_type="AUTOINDEX", metric_type=metric)
    return params


def rows(client, name):
    return sorted(by_text(client, name), key=lambda row: row["id"])


def scalar_schema():
    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    for name, (element, _) in ELEMENTS.items():
        more = {"max_length": 12} if element == DataType.VARCHAR else {}
        schema.add_field(name, DataType.ARRAY, element_type=element, max_capacity=4, nullable=name.startswith("i"), **more)
    schema.add_field("d_bool", DataType.BOOL, default_value=True)
    schema.add_field("d_i8", DataType.INT8, default_value=numpy.int8(-8))
    schema.add_field("d_i64", DataType.INT64, nullable=True, default_value=2**40)
    schema.add_field("d_float", DataType.FLOAT, default_value=0.25)
    schema.add_field("d_double", DataType.DOUBLE, default_value=0.1)
    schema.add_field("d_text", DataType.VARCHAR, max_length=10, nullable=True, default_value="none")
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    return schema


DEFAULTS = {"d_bool": True, "d_i8": -8, "d_i64": 2**40, "d_float": 0.25, "d_double": 0.1, "d_text": "none"}


def scalar_row(n):
    """As it is written. Every second row brings what has a default value."""
    row = {"id": n, "vector": [float(n), 1.0], "extra": {"n": n}}
    row |= {name: values(n) for name, (_, values) in ELEMENTS.items()}
    if n % 5 == 0:
        row |= {name: None for name in ELEMENTS if name.startswith("i")}
    if n % 2:
        row |= {"d_bool": False, "d_i8": n % 100, "d_i64": n, "d_float": 0.5, "d_double": n / 3, "d_text": f"x{n}"}
    elif n % 4:
        row |= {"d_i64": None, "d_text": None}
    return row


def as_read(row):
    return {**DEFAULTS, **{name: value for name, value in row.items() if value is not None or name not in DEFAULTS}}


def arrays_and_defaults_come_back_as_they_were(client):
    client.create_collection("scalars", schema=scalar_schema(), index_params=indexes({"vector": "L2"}))
    described = {field["name"]: field for field in client.describe_collection("scalars")["fields"]}
    same(described["texts"]["element_type"], DataType.VARCHAR)
    same({k: int(v) for k, v in described["texts"]["params"].items()}, {"max_capacity": 4, "max_length": 12})
    same(described["d_i8"]["default_value"].int_data, -8)
    client.insert("scalars", [scalar_row(n) for n in range(40)])
    same(rows(client, "scalars"), [as_read(scalar_row(n)) for n in range(40)])
    # Nothing is found, and every field is there with its type.
    same(list(client.query("scalars", filter="id < 0", output_fields=["*"])), [])
    hit = client.search("scalars", [[3.0, 1.0]], limit=1, output_fields=["*"])[0][0]
    same((hit["id"], plain(dict(hit["entity"]))), (3, as_read(scalar_row(3))))
    same(keys(client.query("scalars", filter='d_text == "none" and d_i64 > 100')), [n for n in range(0, 40, 2)])
    same(keys(client.query("scalars", filter="i8s is null")), list(range(0, 40, 5)))
    client.upsert("scalars", [{**scalar_row(3), "texts": ["new"]}])
    same(client.get("scalars", ids=[3], output_fields=["texts", "d_i8"]), [{"id": 3, "texts": ["new"], "d_i8": 3}])


def what_does_not_fit_is_refused_with_field_and_row(client):
    before, good = count(client, "scalars"), scalar_row(1)
    for change, fragments in [
        ({"i8s": [1, 128]}, ("field i8s: row 1", "does not fit into i8")),
        ({"i64s": [1] * 5}, ("field i64s: row 1", "exceeds max capacity (4)")),
        ({"texts": ["x" * 13]}, ("field texts: row 1", "exceeds max length", "max length: 12")),
        ({"doubles": [float("nan")]}, ("field doubles: row 1", "is not a number")),
        ({"d_i8": 128}, ("field d_i8: row 1", "does not fit")),
    ]:
        with refused(1100, *fragments):
            client.insert("scalars", [good, {**good, **change}])
    same(count(client, "scalars"), before)
    schemas = [
        (DataType.ARRAY, {"element_type": DataType.JSON, "max_capacity": 4}, "element type JSON is not supported"),
        (DataType.ARRAY, {"element_type": DataType.INT8, "max_capacity": 5000}, "maximum capacity specified for a Array"),
        (DataType.ARRAY, {"element_type": DataType.VARCHAR, "max_capacity": 5}, "max_length"),
        (DataType.BINARY_VECTOR, {"dim": 12}, "binary vector dimension should be multiple of 8"),
        (DataType.FLOAT16_VECTOR, {"dim": 1}, "invalid dimension: 1"),
        (DataType.INT8, {"default_value": numpy.int16(200)}, "out of range"),
        (DataType.INT8, {"default_value": 1}, "type (Int8) of field (bad) is not equal to the type(DataType_Int64)"),
    ]
    for data_type, params, fragment in schemas:
        schema = MilvusClient.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("bad", data_type, **params)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        with refused(1100, "field bad", fragment):
            client.create_collection("bad", schema=schema)
    assert not client.has_collection("bad")


def numbers(n):
    """Small whole numbers, many rows the same: every type holds them, sums are exact, and there are ties."""
    own = numpy.random.default_rng(n % 40)
    return own.integers(-4, 5, DIM).astype(numpy.float32)


def bits(n):
    return numpy.random.default_rng(1000 + n % 40).integers(0, 256, DIM // 8).astype(numpy.uint8)


def sparse(n):
    own = numpy.random.default_rng(2000 + n % 40)
    places = sorted(own.choice(50, size=n % 6, replace=False).tolist())
    return {place: float(own.integers(1, 9)) / 4 for place in places}


def vector_row(n):
    values = numbers(n)
    return {
        "id": n,
        "part": n % 3,
        "float": values.tolist(),
        "half": values.astype(numpy.float16),
        "brain": brain(values),
        "byte": values.astype(numpy.int8),
        "bits": bits(n).tobytes(),
        "sparse": sparse(n),
    }


METRICS = {"float": "L2", "half": "COSINE", "brain": "IP", "byte": "L2", "bits": "HAMMING", "sparse": "IP"}


def vector_collection(client, name, metrics):
    """300 rows with these vector fields, in two segments."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("part", DataType.INT8)
    for field in metrics:
        if field == "sparse":
            schema.add_field(field, DataType.SPARSE_FLOAT_VECTOR)
        elif field == "bits":
            schema.add_field(field, DataType.BINARY_VECTOR, dim=DIM)
        else:
            schema.add_field(field, VECTORS[field], dim=DIM)
    client.create_collection(name, schema=schema, index_params=indexes(metrics))
    wanted = {"id", "part", *metrics}
    data = [{key: value for key, value in vector_row(n).items() if key in wanted} for n in KEYS]
    client.insert(name, data[:170])
    client.flush(name)
    client.insert(name, data[170:])
    return name


def score(metric, query, row):
    if metric == "HAMMING":
        return int(numpy.unpackbits(query ^ row).sum())
    if metric == "JACCARD":
        either = int(numpy.unpackbits(query | row).sum())
        return 1.0 if either == 0 else (either - int(numpy.unpackbits(query & row).sum())) / either
    if isinstance(query, dict):
        return sum(value * row[place] for place, value in query.items() if place in row)
    query, row = query.astype(numpy.float64), row.astype(numpy.float64)
    if metric == "L2":
        return float(((query - row) ** 2).sum())
    inner = float((query * row).sum())
    lengths = float(numpy.sqrt((query**2).sum() * (row**2).sum()))
    return inner if metric == "IP" else (inner / lengths if lengths else 0.0)


def value_of(field, n):
    return bits(n) if field == "bits" else sparse(n) if field == "sparse" else numbers(n)


def as_query(field, n):
    row = vector_row(n)
    return row[field]


def check_search(client, name, field, metric, condition=lambda n: True, **options):
    """Every hit with its score, as an oracle finds it in all rows; ties by key."""
    chosen = [3, 11, 29]
    found = client.search(name, [as_query(field, n) for n in chosen], anns_field=field, limit=50, **options)
    for n, hits in zip(chosen, found, strict=True):
        query = value_of(field, n)
        scored = [(score(metric, query, value_of(field, key)), key) for key in KEYS if condition(key)]
        if field == "sparse":
            # As in Milvus: what has nothing in common with the query is no hit.
            scored = [(value, key) for value, key in scored if value > 0]
        nearest_first = 1 if metric in ("L2", "HAMMING", "JACCARD") else -1
        expected = sorted(scored, key=lambda pair: (round(nearest_first * pair[0], 6), pair[1]))[:50]
        same([hit["id"] for hit in hits], [key for _, key in expected], f"{field} {metric} {n}")
        for hit, (value, _) in zip(hits, expected, strict=True):
            assert abs(hit["distance"] - value) < 1e-5, f"{field} {metric} {n}: {hit} instead of {value}"


def searches_of_every_vector_type_equal_an_oracle(client):
    for field in METRICS:
        metrics = {"bits": ("HAMMING", "JACCARD"), "sparse": ("IP",)}.get(field, ("L2", "IP", "COSINE"))
        for metric in metrics:
            name = vector_collection(client, f"one_{field}_{metric}", {field: metric})
            check_search(client, name, field, metric)
            check_search(client, name, field, metric, lambda n: n % 3 == 1, filter="part == 1")
            client.drop_collection(name)


def stored(field, value):
    """What a query gives, as a value that compares."""
    value = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes) else value
    if field == "brain":
        return from_brain(value).tolist()
    types = {"half": "<f2", "byte": "i1", "bits": "u1"}
    return numpy.frombuffer(value, dtype=types[field]).tolist() if field in types else plain(value)


EXPECTED = {n: {field: plain(value_of(field, n)) for field in METRICS} for n in KEYS}


def check_vectors(client, name):
    """Every vector as it was written, and found as an oracle finds it."""
    found = client.query(name, filter="", limit=1000, output_fields=["*"])
    same({row["id"]: {field: stored(field, row[field]) for field in FIELDS} for row in found}, EXPECTED, name)
    for field, metric in METRICS.items():
        check_search(client, name, field, metric)


FIELDS = tuple(METRICS)


def vectors_of_every_type_come_back_also_side_by_side(client):
    check_vectors(client, vector_collection(client, "many", METRICS))
    hit = client.search("many", [as_query("float", 5)], anns_field="float", limit=1, output_fields=list(FIELDS))[0][0]
    same({field: stored(field, hit["entity"][field]) for field in FIELDS}, EXPECTED[hit["id"]])
    with refused(1100, "multiple anns_fields exist"):
        client.search("many", [as_query("float", 1)], limit=1)
    same(list(client.query("many", filter="id < 0", output_fields=["*"])), [])


def floats_are_rounded_to_16_bits_by_the_server(client):
    name = "rounded"
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("half", DataType.FLOAT16_VECTOR, dim=4)
    schema.add_field("brain", DataType.BFLOAT16_VECTOR, dim=4)
    client.create_collection(name, schema=schema, index_params=indexes({"half": "L2", "brain": "L2"}))
    client.insert(name, [{"id": 1, "half": [0.1, 2049.0, 1.0, -3.0], "brain": [0.1, 257.0, 1.0, -3.0]}])
    row = client.query(name, filter="id == 1", output_fields=["*"])[0]
    same(stored("half", row["half"]), plain(numpy.array([0.1, 2048.0, 1.0, -3.0], dtype=numpy.float16)))
    same(stored("brain", row["brain"])[1:], [256.0, 1.0, -3.0])
    hits = client.search(name, [[0.1, 2049.0, 1.0, -3.0]], anns_field="half", limit=1)
    same((hits[0][0]["id"], hits[0][0]["distance"]), (1, 0.0))
    with refused(1100, "field half: row 0", "does not fit into 16 bits"):
        client.insert(name, [{"id": 2, "half": [1e9] * 4, "brain": [0.0] * 4}])
    client.drop_collection(name)


def vectors_that_do_not_fit_are_refused(client):
    name = "many"
    before, good = count(client, name), vector_row(1)
    with refused(1100, "field bits"):
        client.insert(name, [{**good, "bits": b"123"}])
    for query, field, fragment in [
        (b"1", "bits", "vector dimension mismatch"),
        ([0.0] * DIM, "bits", "vector type must be the same"),
        ({1: 1.0}, "float", "vector type must be the same"),
    ]:
        with refused(1100, fragment):
            client.search(name, [query], anns_field=field, limit=1)
    with refused(1100, "metric type not match"):
        client.search(name, [bits(1).tobytes()], anns_field="bits", limit=1, search_params={"metric_type": "JACCARD"})
    hits = client.search(name, [bits(1).tobytes()], anns_field="bits", limit=300, search_params={"params": {"radius": 5, "range_filter": 2}})
    assert all(2 <= hit["distance"] < 5 for hit in hits[0]) and len(hits[0]) > 3, hits
    same(count(client, name), before)
    bad = MilvusClient.prepare_index_params()
    bad.add_index("bits", index_type="AUTOINDEX", metric_type="L2", index_name="bad")
    client.release_collection(name)
    client.drop_index(name, "bits")
    with refused(1100, "binary vector index does not support metric type: L2"):
        client.create_index(name, bad)
    client.create_index(name, indexes({"bits": "HAMMING"}))
    client.load_collection(name)


LATER = {"late_number": 41, "late_note": None, "late_flag": True}


def add_fields(client, name):
    client.add_collection_field(name, "late_number", DataType.INT32, nullable=True, default_value=numpy.int32(41))
    client.add_collection_field(name, "late_note", DataType.VARCHAR, nullable=True, max_length=8)
    client.add_collection_field(name, "late_flag", DataType.BOOL, nullable=True, default_value=True)
    client.add_collection_field(
        name, "late_list", DataType.ARRAY, element_type=DataType.INT64, max_capacity=3, nullable=True
    )


def a_field_that_is_added_is_null_or_its_default_in_rows_that_are_there(client):
    old = rows(client, "scalars")
    client.create_snapshot("before", "scalars")
    with refused(1100, "added field must be nullable, please check it, field name = bad"):
        client.add_collection_field("scalars", "bad", DataType.INT64)
    with refused(1100, "not support to add vector field, field name = bad"):
        client.add_collection_field("scalars", "bad", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    with refused(1100, "duplicate field name: d_i8"):
        client.add_collection_field("scalars", "d_i8", DataType.INT8, nullable=True)
    with refused(100):
        client.add_collection_field("nowhere", "x", DataType.INT8, nullable=True)
    add_fields(client, "scalars")
    described = client.describe_collection("scalars")["fields"]
    same([field["name"] for field in described][-4:], ["late_number", "late_note", "late_flag", "late_list"])
    same(len({field["field_id"] for field in described}), len(described))
    absent = {**LATER, "late_list": None}
    same(rows(client, "scalars"), [{**row, **absent} for row in old])
    given = {"late_number": 7, "late_note": "new", "late_flag": False, "late_list": [1, 2]}
    client.insert("scalars", [{**scalar_row(40), **given}, scalar_row(41)])
    expected = old + [{**as_read(scalar_row(40)), **given}, as_read(scalar_row(41))]
    same(rows(client, "scalars"), [{**absent, **row} for row in expected])
    same(keys(client.query("scalars", filter="late_number == 7")), [40])
    same(keys(client.query("scalars", filter="late_note is null")), [n for n in range(42) if n != 40])
    same(count(client, "scalars", filter="late_flag == true"), 41)


def equal(client, source, target):
    one, other = client.describe_collection(source), client.describe_collection(target)
    for what in ("fields", "description", "enable_dynamic_field", "properties", "num_shards"):
        same(str(other.get(what)), str(one.get(what)), f"{what} of {target}")
    for index in client.list_indexes(source):
        of = [{k: v for k, v in client.describe_index(name, index).items() if not k.endswith("_rows")} for name in (source, target)]
        same(*of)


def copied(client, snapshot, source, target):
    """A restore that copies every file, by the command line."""
    ctl(client, "snapshot", "restore", source, snapshot, target, "--mode", "copy", "--wait")
    client.load_collection(target)


def ctl(client, *arguments):
    done = subprocess.run([PROGRAM, "ctl", "--addr", sys.argv[1], *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def restores_bring_everything_back_in_both_modes(client):
    after = rows(client, "scalars")
    client.create_snapshot("after", "scalars")
    client.create_snapshot("vectors", "many")
    for mode, back in (("clone", restore), ("copy", copied)):
        back(client, "after", "scalars", f"after_{mode}")
        same(rows(client, f"after_{mode}"), after, mode)
        equal(client, "scalars", f"after_{mode}")
        same(keys(client.query(f"after_{mode}", filter="late_number == 7")), [40])
        # A snapshot of before knows nothing of what was added since.
        back(client, "before", "scalars", f"before_{mode}")
        late = {"late_number", "late_note", "late_flag", "late_list"}
        same(rows(client, f"before_{mode}"), [{k: v for k, v in row.items() if k not in late} for row in after if row["id"] < 40])
        # Added to the restored collection, they are fields of their own.
        client.add_collection_field(f"before_{mode}", "late_number", DataType.VARCHAR, max_length=9, nullable=True, default_value="x")
        same({row["late_number"] for row in client.query(f"before_{mode}", filter="id >= 0", output_fields=["late_number"])}, {"x"})
        back(client, "vectors", "many", f"many_{mode}")
        equal(client, "many", f"many_{mode}")
        check_vectors(client, f"many_{mode}")


def compaction_keeps_every_type_and_what_was_added(client):
    before = rows(client, "scalars")
    for name in ("scalars", "many"):
        client.flush(name)
        old = {segment.segment_id for segment in client.list_persistent_segments(name)}
        compacted(client, name)
        new = {segment.segment_id for segment in client.list_persistent_segments(name)}
        assert len(new) == 1 and not new & old, f"{name} was not compacted: {old} became {new}"
    same(rows(client, "scalars"), before)
    check_vectors(client, "many")


def a_snapshot_is_read_in_place(client):
    """Without the fields that were added after it; vectors of every type are shown as numbers."""
    old = json.loads(ctl(client, "--output", "json", "snapshot", "query", "scalars", "before", "--filter", "id == 7"))
    assert old[0]["d_i8"] == 7 and old[0]["i64s"] == ELEMENTS["i64s"][1](7) and "late_number" not in old[0], old
    new = json.loads(ctl(client, "--output", "json", "snapshot", "query", "scalars", "after", "--filter", "late_number == 41"))
    same(len(new), 41)
    (shown,) = json.loads(ctl(client, "--output", "json", "snapshot", "query", "many", "vectors", "--filter", "id == 9"))
    shown["sparse"] = {int(place): value for place, value in shown["sparse"].items()}
    same({field: shown[field] for field in FIELDS}, EXPECTED[9])
    fields = json.loads(ctl(client, "--output", "json", "collection", "describe", "scalars"))["fields"]
    described = {field["name"]: field for field in fields}
    same((described["texts"]["element_type"], described["d_double"]["default_value"]), ("VarChar", 0.1))


def a_snapshot_says_what_its_fields_are(client):
    location = client.describe_snapshot("after", "scalars").s3_location
    text = subprocess.run(
        [PROGRAM, "ctl", "snapshot", "inspect", location], capture_output=True, text=True, check=True, cwd=DATA
    ).stdout
    for part in ("array", "element=int64", "max_capacity=4", "default=41", 'default="none"'):
        assert part in text, f"{part} is not in\n{text}"
    reader = __file__.replace("every_type.py", "read_snapshot.py")
    for name, snapshot in (("scalars", "after"), ("many", "vectors")):
        path = client.describe_snapshot(snapshot, name).s3_location
        read = subprocess.run([sys.executable, reader, path], capture_output=True, text=True, check=True, cwd=DATA).stdout
        read = {row["id"]: row for row in map(json.loads, read.splitlines())}
        if name == "scalars":
            same((read[3]["late_number"], read[3]["late_note"], read[40]["late_number"]), (41, None, 7))
            same((read[7]["i64s"], read[5]["i64s"]), (ELEMENTS["i64s"][1](7), None))
        else:
            # A key of JSON is a text.
            expected = {n: {**row, "sparse": {str(k): v for k, v in row["sparse"].items()}} for n, row in EXPECTED.items()}
            same({n: {field: row[field] for field in FIELDS} for n, row in read.items()}, expected)


def rolling_back_takes_the_added_fields_with_it(client):
    ctl(client, "collection", "rollback", "scalars", "before", "--yes")
    client.load_collection("scalars")
    fresh = MilvusClient(sys.argv[1], timeout=30)
    names = [field["name"] for field in fresh.describe_collection("scalars")["fields"]]
    assert "late_number" not in names, names
    fresh.add_collection_field("scalars", "late_note", DataType.INT64, nullable=True, default_value=5)
    added = fresh.describe_collection("scalars")["fields"][-1]
    same((added["name"], added["type"]), ("late_note", DataType.INT64))
    taken = [field["field_id"] for field in client.describe_collection("after_clone")["fields"]]
    assert added["field_id"] not in taken, f"{added} has an id that another field had: {taken}"
    same({row["late_note"] for row in fresh.query("scalars", filter="id >= 0", output_fields=["late_note"])}, {5})


run(
    arrays_and_defaults_come_back_as_they_were,
    what_does_not_fit_is_refused_with_field_and_row,
    searches_of_every_vector_type_equal_an_oracle,
    vectors_of_every_type_come_back_also_side_by_side,
    floats_are_rounded_to_16_bits_by_the_server,
    vectors_that_do_not_fit_are_refused,
    a_field_that_is_added_is_null_or_its_default_in_rows_that_are_there,
    restores_bring_everything_back_in_both_modes,
    compaction_keeps_every_type_and_what_was_added,
    a_snapshot_is_read_in_place,
    a_snapshot_says_what_its_fields_are,
    rolling_back_takes_the_added_fields_with_it,
)
