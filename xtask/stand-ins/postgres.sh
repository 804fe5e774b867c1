# What the official image's entrypoint does, as far as deploy/docker-compose.yml uses it.
set -eu

# NAME or the content of the file NAME_FILE, else a default.
setting() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$value" ] && [ -n "$file" ]; then echo "error: both $1 and $1_FILE are set" >&2; exit 1; fi
    if [ -n "$file" ]; then value=$(cat "$file"); fi
    echo "${value:-$2}"
}

if [ "${1:-}" = postgres ] && [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups /bin/sh "$0" "$@"
fi

if [ "${1:-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=$(setting POSTGRES_USER postgres)
    password=$(setting POSTGRES_PASSWORD "")
    database=$(setting POSTGRES_DB "$user")
    if [ -z "$password" ]; then echo "error: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2; exit 1; fi
    # An interrupted set-up is made again: only a complete one is at $PGDATA.
    rm -rf "$PGDATA/new"
    # shellcheck disable=SC2086 # several arguments in one variable, as in the official image
    printf '%s\n' "$password" | initdb --pgdata="$PGDATA/new" --username="$user" --pwfile=/dev/stdin \
        --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
    echo "host all all all scram-sha-256" >>"$PGDATA/new/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/new/postgresql.conf"
    pg_ctl --pgdata="$PGDATA/new" --options="-c listen_addresses=''" --wait start
    if [ "$database" != postgres ]; then createdb --username="$user" "$database"; fi
    pg_ctl --pgdata="$PGDATA/new" --mode=fast --wait stop
    mv "$PGDATA"/new/PG_VERSION "$PGDATA"/.version
    find "$PGDATA/new" -mindepth 1 -maxdepth 1 -exec mv {} "$PGDATA/" \;
    rmdir "$PGDATA/new"
    mv "$PGDATA/.version" "$PGDATA/PG_VERSION"
fi
unset POSTGRES_PASSWORD

exec "$@"
