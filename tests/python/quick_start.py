"""The first ten minutes with pymilvus, as its documentation goes through them."""

from harness import count, keys, refused, run, same
from pymilvus import MilvusClient
from harness import url


def a_collection_from_name_and_dimension(client):
    client.create_collection("quick", dimension=5)
    assert client.has_collection("quick") and not client.has_collection("slow")
    same(client.list_collections(), ["quick"])
    state = client.get_load_state("quick")["state"]
    same(str(state), "Loaded")

    data = [{"id": i, "vector": [i / 10, 0.1, 0.2, 0.3, 0.4], "color": ["red", "green"][i % 2]} for i in range(20)]
    result = client.insert("quick", data)
    same((result["insert_count"], list(result["ids"])), (20, list(range(20))))

    hits = client.search("quick", data=[[0.7, 0.1, 0.2, 0.3, 0.4]], limit=3, output_fields=["color"])
    same(len(hits[0]), 3)
    same((hits[0][0]["id"], hits[0][0]["entity"]["color"]), (7, "green"))
    assert hits[0][0]["distance"] > 0.9999

    found = client.query("quick", filter='color == "red"', output_fields=["color"])
    same(keys(found), list(range(0, 20, 2)))
    same(keys(client.get("quick", ids=[3, 5, 99])), [3, 5])

    same(client.upsert("quick", [{"id": 3, "vector": [0.0] * 4 + [1.0], "color": "blue"}])["upsert_count"], 1)
    same(keys(client.query("quick", filter='color == "blue"')), [3])
    same(client.delete("quick", ids=[0, 2])["delete_count"], 2)
    same(client.delete("quick", filter='color == "red"')["delete_count"], 8)
    same(count(client, "quick"), 10)
    client.drop_collection("quick")
    assert not client.has_collection("quick")
    same(client.list_collections(), [])


def keys_from_the_server(client):
    client.create_collection("auto", dimension=2, auto_id=True)
    first = client.insert("auto", [{"vector": [1.0, 0.0]}, {"vector": [0.0, 1.0]}])["ids"]
    second = client.insert("auto", [{"vector": [1.0, 1.0]}])["ids"]
    assert len({*first, *second}) == 3 and min(second) > max(first)
    same(keys(client.query("auto", filter="id > 0")), sorted([*first, *second]))
    client.drop_collection("auto")


def keys_of_text(client):
    client.create_collection("texts", dimension=2, id_type="string", max_length=16)
    client.insert("texts", [{"id": key, "vector": [1.0, 2.0]} for key in ("a", "b", "ü")])
    same(keys(client.get("texts", ids=["ü", "a"])), ["a", "ü"])
    client.delete("texts", ids=["b"])
    same(keys(client.query("texts", filter='id >= "a"')), ["a", "ü"])
    client.drop_collection("texts")


def flush_is_done_when_it_returns(client):
    client.create_collection("flushed", dimension=2)
    client.insert("flushed", [{"id": 1, "vector": [1.0, 2.0]}])
    client.flush("flushed")
    same(client.get_collection_stats("flushed")["row_count"], 1)
    client.insert("flushed", [{"id": 2, "vector": [1.0, 2.0]}])
    client.flush("flushed")
    same(count(client, "flushed"), 2)
    client.drop_collection("flushed")


def clients_ask_who_is_there(client):
    assert "elanus" in client.get_server_version()
    same(client.list_databases(), ["default"])
    second = MilvusClient(url(), db_name="default")
    same(second.list_collections(), [])
    second.close()


def a_wrong_row_is_refused_and_nothing_of_its_request_is_written(client):
    client.create_collection("strict", dimension=2)
    good, bad = {"id": 1, "vector": [1.0, 2.0]}, {"id": 2, "vector": [1.0, float("nan")]}
    with refused(1100, "not a number"):
        client.insert("strict", [good, bad])
    same(count(client, "strict"), 0)
    client.drop_collection("strict")


run(
    a_collection_from_name_and_dimension,
    keys_from_the_server,
    keys_of_text,
    flush_is_done_when_it_returns,
    clients_ask_who_is_there,
    a_wrong_row_is_refused_and_nothing_of_its_request_is_written,
)
