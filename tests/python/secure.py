"""Over TLS: the authority of the server in the second argument, certificate and key of the client in the next two, if any.

Also tries what must not be let in.
"""

import sys

from harness import count, restore, rows, run, same, small_collection, small_row, url
from pymilvus import MilvusClient, MilvusException

CA, *OWN = sys.argv[2:]
# pymilvus knows two ways: one where the server shows a certificate, and one where both do.
TRUSTED = (
    {"ca_pem_path": CA, "client_pem_path": OWN[0], "client_key_path": OWN[1]} if OWN else {"server_pem_path": CA}
)


def everything_works(client):
    small_collection(client, "docs", range(200))
    client.create_snapshot("before", "docs")
    client.delete("docs", filter="id >= 50")
    client.upsert("docs", [small_row(7, "second")])
    same(count(client, "docs"), 50)
    restore(client, "before", "docs", "docs_back")
    same([(row["id"], row["text"]) for row in rows(client, "docs_back")], sorted(
        ((key, "first") for key in range(200)), key=lambda row: str(row[0])))
    near = client.search("docs_back", [small_row(7)["vector"]], limit=1, output_fields=["id"])
    same(near[0][0]["id"], 7)


def large_messages_pass(client):
    small_collection(client, "large", ())
    client.insert("large", [small_row(key, "x" * 100) for key in range(20_000)])
    same(count(client, "large"), 20_000)


def nobody_else_is_let_in(_):
    # By another name: pymilvus has one connection for each address.
    address = url().replace("localhost", "127.0.0.1")
    others = [{"uri": address.replace("https://", "http://")}]
    if OWN:
        others.append({"uri": address, "secure": True, "server_pem_path": CA})
    for other in others:
        try:
            MilvusClient(timeout=3, **other)
        except MilvusException:
            continue
        raise AssertionError(f"let in: {other}")


run(everything_works, large_messages_pass, nobody_else_is_let_in, secure=True, **TRUSTED)
