"""Reads a snapshot of Elanus with general tools: JSON, Avro, Parquet. Needs fastavro and pyarrow, and no server.

    read_snapshot.py DIR/CLUSTER/snapshots/ID/metadata/NAME.json [EXPECTED_NUMBER_OF_ROWS]

Prints every row as a line of JSON, in no order. See docs/reading-a-snapshot.md.
"""

import json
import struct
import sys
from pathlib import Path

import fastavro
import pyarrow.parquet

FORMAT_VERSION = 1
TIMESTAMP = "$timestamp"
EVERY_PARTITION = -1


def opened(root, file):
    """An object that the snapshot names by its key, which is relative to the root of the object store."""
    path = root / file["key"]
    assert path.stat().st_size == file["size"], f"{path} does not have {file['size']} bytes"
    return path


def file_sets(root, manifests):
    """What was added and not removed again, manifest by manifest."""
    there = {}
    for manifest in manifests:
        with opened(root, manifest).open("rb") as file:
            reader = fastavro.reader(file)
            version = int(reader.metadata["elanus.format_version"])
            assert version <= FORMAT_VERSION, f"format version {version} is newer than this script"
            entries = list(reader)
            assert len(entries) == int(reader.metadata["elanus.entries"]), f"{manifest['key']} was cut"
        for entry in entries:
            member = entry["segment_id"], entry["file_set_id"]
            if entry["status"] == "added":
                assert member not in there, f"{member} is added twice"
                there[member] = entry
            else:
                del there[member]
    return list(there.values())


def tables(root, entries, kind):
    for entry in entries:
        for file in entry["files"]:
            if file["kind"] == kind:
                yield entry, pyarrow.parquet.read_table(opened(root, file))


def newest_deletes(root, entries):
    """When a key was deleted last, for each shard and partition in which the delete applies."""
    newest = {}
    for entry, table in tables(root, entries, "delete"):
        for key, offset in zip(table["pk"].to_pylist(), table[TIMESTAMP].to_pylist()):
            place = entry["shard"], entry["partition_id"], key
            newest[place] = max(newest.get(place, 0), entry["base_ts"] + offset)
    return newest


def value(field, stored):
    kind = field["data_type"]
    if stored is None:
        return None
    if kind == "json":
        return json.loads(stored)
    if kind == "float16_vector":
        return list(struct.unpack(f"<{len(stored) // 2}e", stored))
    if kind == "bfloat16_vector":
        return [struct.unpack("<f", bytes(2) + stored[at : at + 2])[0] for at in range(0, len(stored), 2)]
    if kind == "int8_vector":
        return list(struct.unpack(f"{len(stored)}b", stored))
    if kind == "sparse_float_vector":
        return dict(struct.iter_unpack("<If", stored))
    return list(stored) if kind == "binary_vector" else stored


def default(field):
    """What a row has that is older than the field; kept as `{"int": 7}`, numbers with a fraction as text."""
    for kind, kept in field.get("default_value", {}).items():
        return json.loads(kept) if field["data_type"] == "json" else float(kept) if kind == "float" else kept
    return None


def rows(root, metadata):
    entries = file_sets(root, metadata["manifests"])
    deletes = newest_deletes(root, entries)
    fields = {field["id"]: field for field in metadata["definition"]["schema"]["fields"]}
    (key,) = (field["name"] for field in fields.values() if field.get("is_primary_key"))
    for entry, table in tables(root, entries, "insert"):
        # A column is the field of its id, whatever either is called.
        ids = [int(column.metadata[b"PARQUET:field_id"]) for column in table.schema]
        names = [fields[id]["name"] if id in fields else name for id, name in zip(ids, table.column_names)]
        for row in table.rename_columns(names).to_pylist():
            places = ((entry["shard"], partition, row[key]) for partition in (entry["partition_id"], EVERY_PARTITION))
            deleted_ts = max(deletes.get(place, 0) for place in places)
            # A delete hides what is strictly older: an upsert is a delete and a row of one timestamp.
            if entry["base_ts"] + row[TIMESTAMP] >= deleted_ts:
                yield {
                    field["name"]: value(field, row[field["name"]]) if field["name"] in row else default(field)
                    for field in fields.values()
                }


def main(path, expected=None):
    path = Path(path).resolve()
    # CLUSTER/snapshots/ID/metadata/NAME.json
    root = path.parents[4]
    metadata = json.loads(path.read_text())
    version = metadata["format_version"]
    assert version <= FORMAT_VERSION, f"format version {version} is newer than this script"
    assert metadata["snapshot"]["state"] == "committed"
    found = 0
    for row in rows(root, metadata):
        print(json.dumps(row, ensure_ascii=False))
        found += 1
    assert expected is None or found == int(expected), f"{found} rows instead of {expected}"


if __name__ == "__main__":
    main(*sys.argv[1:])
