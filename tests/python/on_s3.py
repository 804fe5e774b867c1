"""A collection and its snapshot on an object store of its own: filled, restored, and looked at again after a crash.

The second argument is the phase; between them the test restores, scrubs and kills the server.
"""

import sys

from harness import count, keys, rows, run, same, small_collection, small_row

FIRST = range(1_000)


def fill(client):
    small_collection(client, "docs", FIRST)
    client.create_snapshot("before", "docs")
    client.delete("docs", filter="id >= 100")
    client.insert("docs", [small_row(key, "second") for key in range(2_000, 2_010)])
    same(keys(rows(client, "docs")), [*range(100), *range(2_000, 2_010)])


def check(client):
    same(keys(rows(client, "docs")), [*range(100), *range(2_000, 2_010)])
    for name in ("cloned", "copied"):
        client.load_collection(name)
        found = rows(client, name)
        same([(row["id"], row["text"]) for row in sorted(found, key=lambda row: row["id"])],
             [(key, "first") for key in FIRST], name)
        near = client.search(name, [small_row(7)["vector"]], limit=1, output_fields=["id"])
        same(near[0][0]["id"], 7)


def drop(client):
    client.drop_snapshot("before", "docs")
    client.drop_collection("docs")
    client.drop_collection("cloned")
    same(count(client, "copied"), len(FIRST))


PHASES = {"fill": fill, "check": check, "drop": drop}

run(PHASES[sys.argv[2]])
