#!/usr/bin/env bash
# Makes the archives of one schema version: make.sh PROGRAM SCHEMA, with PYTHON a Python that has pymilvus.
# PROGRAM is an `elanus` of the commit that is kept; what it leaves is never made again.
set -euo pipefail
program=$1 schema=$2 here=$(cd "$(dirname "$0")" && pwd)
port=$((20000 + RANDOM % 10000)) pg=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
home=$(mktemp -d) && chmod 755 "$home"
cleanup() {
    [ -z "${server:-}" ] || kill -9 "$server" 2>/dev/null || true
    [ ! -d "$home/pg" ] || as_postgres "$pg/pg_ctl" -D "$home/pg" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$home"
}
trap cleanup EXIT
as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); else "$@"; fi; }

fill() { # DIR META...
    "$program" standalone --data "$1/data" --listen "127.0.0.1:$port" --management "127.0.0.1:$((port + 1))" "${@:2}" >"$home/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do grep -q "$port" "$home/log" && break; sleep 0.1; done
    sleep 1
    "$PYTHON" "$here/../../python/upgrade.py" "http://127.0.0.1:$port" fill
    kill -TERM "$server" && wait "$server" && server=
}

mkdir "$home/sqlite" && fill "$home/sqlite"
tar -C "$home/sqlite" --owner=0 --group=0 -czf "$here/schema-$schema-sqlite.tar.gz" data

mkdir "$home/pg" "$home/postgres" && { [ "$(id -u)" != 0 ] || chown postgres "$home/pg"; }
as_postgres "$pg/initdb" --no-sync --username=elanus --auth=trust --encoding=UTF8 --locale=C.UTF-8 -D "$home/pg" >/dev/null
as_postgres "$pg/pg_ctl" -D "$home/pg" -w -l "$home/pg/log" -o "-k $home/pg -c listen_addresses=" start >/dev/null
"$pg/createdb" --host "$home/pg" --username=elanus elanus
fill "$home/postgres" --meta "postgres://elanus@localhost/elanus?host=$home/pg"
"$pg/pg_dump" --host "$home/pg" --username=elanus --no-owner elanus | sed '/^\\\(un\)\?restrict /d' >"$home/postgres/dump.sql"
tar -C "$home/postgres" --owner=0 --group=0 -czf "$here/schema-$schema-postgres.tar.gz" data dump.sql
ls -l "$here"/schema-"$schema"-*
