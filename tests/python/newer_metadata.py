"""Makes a metadata file look as if a later version of the program had migrated it: `newer_metadata.py META.DB`."""

import sqlite3
import sys

with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', 1, x'00', 0)"
    )
connection.close()
