"""Queries: every filter against the same condition in Python, paging, output fields, and what is no answer."""

from harness import count, keys, plain, refused, run, same, vector_index
from pymilvus import DataType, MilvusClient

NAME = "filtered"
COLORS = ["red", "green", "blue", "deep blue"]
ROWS = [
    {
        "id": key,
        "age": key % 17,
        "price": key * 0.25 - 10,
        "sold": key % 3 == 0,
        "color": COLORS[key % 4],
        "meta": {"rank": key % 5, "tags": [key % 2, f"t{key % 7}"], "in": {"side": key % 11}},
        "vector": [float(key), 1.0],
        **({"bonus": key * 2} if key % 6 == 0 else {}),
    }
    for key in range(200)
]


def in_two_segments(client):
    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("age", DataType.INT32)
    schema.add_field("price", DataType.DOUBLE)
    schema.add_field("sold", DataType.BOOL)
    schema.add_field("color", DataType.VARCHAR, max_length=20)
    schema.add_field("meta", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection(NAME, schema=schema, index_params=vector_index())
    client.insert(NAME, ROWS[:120])
    client.flush(NAME)
    client.insert(NAME, ROWS[120:])


FILTERS = {
    "id == 7": lambda r: r["id"] == 7,
    "id in [3, 5, 199, 1000]": lambda r: r["id"] in (3, 5, 199),
    "id not in [3, 5]": lambda r: r["id"] not in (3, 5),
    "id in []": lambda r: False,
    "age > 10 and price < 20.5": lambda r: r["age"] > 10 and r["price"] < 20.5,
    "age < 2 or age >= 15": lambda r: r["age"] < 2 or r["age"] >= 15,
    "not (age < 15)": lambda r: r["age"] >= 15,
    "5 < age <= 7": lambda r: 5 < r["age"] <= 7,
    "age % 5 == 2": lambda r: r["age"] % 5 == 2,
    "price * 2 + age > 50": lambda r: r["price"] * 2 + r["age"] > 50,
    "sold == true": lambda r: r["sold"],
    "sold != true and age == 0": lambda r: not r["sold"] and r["age"] == 0,
    'color == "blue"': lambda r: r["color"] == "blue",
    'color in ["red", "green"]': lambda r: r["color"] in ("red", "green"),
    'color like "%blue"': lambda r: r["color"].endswith("blue"),
    'color like "gr%"': lambda r: r["color"].startswith("gr"),
    'color like "%e%"': lambda r: "e" in r["color"],
    'color like "re_"': lambda r: r["color"] == "red",
    'not (color like "%blue%") && age == 3': lambda r: "blue" not in r["color"] and r["age"] == 3,
    'meta["rank"] == 4': lambda r: r["meta"]["rank"] == 4,
    'meta["rank"] in [0, 1] and meta["in"]["side"] > 8': lambda r: r["meta"]["rank"] < 2 and r["meta"]["in"]["side"] > 8,
    'meta["tags"][1] == "t3"': lambda r: r["meta"]["tags"][1] == "t3",
    'meta["tags"][0] == 1': lambda r: r["meta"]["tags"][0] == 1,
    'exists meta["rank"]': lambda r: True,
    'exists meta["nothing"]': lambda r: False,
    "bonus >= 100": lambda r: r.get("bonus", -1) >= 100,
    "exists bonus": lambda r: "bonus" in r,
    '$meta["bonus"] == 12': lambda r: r.get("bonus") == 12,
    'bonus > 0 and color == "red"': lambda r: r.get("bonus", 0) > 0 and r["color"] == "red",
}


def every_filter_means_what_it_means_in_python(client):
    for text, condition in FILTERS.items():
        expected = [row["id"] for row in ROWS if condition(row)]
        same(keys(client.query(NAME, filter=text)), expected, text)
        same(count(client, NAME, filter=text), len(expected), f"count of {text}")


def values_may_be_given_beside_the_filter(client):
    found = client.query(NAME, filter="age in {ages} and color == {color}", filter_params={"ages": [1, 2], "color": "red"})
    same(keys(found), [row["id"] for row in ROWS if row["age"] in (1, 2) and row["color"] == "red"])


def pages_have_every_row_once(client):
    seen = []
    while page := client.query(NAME, filter="age != 4", limit=7, offset=len(seen)):
        assert len(page) <= 7
        seen += [row["id"] for row in page]
    same(sorted(seen), [row["id"] for row in ROWS if row["age"] != 4])
    same(len(client.query(NAME, filter="", limit=3)), 3)


def output_fields_are_those_that_were_asked_for(client):
    def one(fields):
        return plain(dict(client.query(NAME, filter="id == 6", output_fields=fields)[0]))

    row = ROWS[6]
    same(one(["age", "color"]), {"id": 6, "age": row["age"], "color": row["color"]})
    same(one(["meta"]), {"id": 6, "meta": row["meta"]})
    same(one(["bonus"]), {"id": 6, "bonus": 12})
    same(one(["*"]), row)
    same(one(["vector"]), {"id": 6, "vector": row["vector"]})
    with_none = plain(dict(client.query(NAME, filter="id == 7", output_fields=["bonus"])[0]))
    assert with_none.get("bonus") is None and with_none["id"] == 7


def an_empty_answer_is_an_answer(client):
    same(list(client.query(NAME, filter="id == -5", output_fields=["*"])), [])
    same(count(client, NAME, filter="id == -5"), 0)
    same(list(client.get(NAME, ids=[-5])), [])


def deletes_by_filter_delete_what_the_query_finds(client):
    doomed = [row["id"] for row in ROWS if row["meta"]["rank"] == 3 and row["color"] == "green"]
    assert doomed
    same(client.delete(NAME, filter='meta["rank"] == 3 and color == "green"')["delete_count"], len(doomed))
    same(keys(client.query(NAME, filter="id >= 0")), [row["id"] for row in ROWS if row["id"] not in doomed])
    client.insert(NAME, [row for row in ROWS if row["id"] in doomed])
    same(count(client, NAME), len(ROWS))


def what_is_no_query_is_refused(client):
    for text in ("age >", "age = 1", "nothing like", '"unclosed', "age == 'x'", "(((", "vector == 1"):
        with refused(1100):
            client.query(NAME, filter=text)
    with refused(1100, "empty expression should be used with limit"):
        client.query(NAME, filter="")
    with refused(1100, "limit"):
        client.query(NAME, filter="", limit=16385)
    with refused(1100, "offset"):
        client.query(NAME, filter="", limit=1, offset=-1)
    with refused(1100, "always true"):
        client.delete(NAME, filter="true")
    same(count(client, NAME), len(ROWS))
    client.drop_collection(NAME)


run(
    in_two_segments,
    every_filter_means_what_it_means_in_python,
    values_may_be_given_beside_the_filter,
    pages_have_every_row_once,
    output_fields_are_those_that_were_asked_for,
    an_empty_answer_is_an_answer,
    deletes_by_filter_delete_what_the_query_finds,
    what_is_no_query_is_refused,
)
