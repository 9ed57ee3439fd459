"""Feast's history in PostgreSQL (``CHURN_OFFLINE_STORE=postgres``): one table of all months, for who reads it by SQL.

It lies in the schema ``feast`` of ``CHURN_DATABASE_URL``, beside the registry. Months go in and out by digest, all in
one transaction: a reader sees the set of before or the set of after. DuckDB over Parquet is faster where nobody needs
the table, and is the default.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features.observation import instant
from churn_platform.records.database import configured, prepare, spoken
from churn_platform.records.libpq import connect_arguments, parts, redacted

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    import sqlalchemy as sa

    from churn_platform.records.store import ContentStore

SCHEMA, TABLE = "feast", "customer_features"
MONTHS = f"{TABLE}_months"
"""Which month is in the table, with which digest."""
_NAME_BYTES = 63
_CONNECT_SECONDS = 10
_TIMES = ("event_timestamp", "created_timestamp")
# Any number will do, as long as every process takes the same for its turn at writing.
_TURN = 0x66656173746D


def offline_config() -> dict[str, Any]:
    """Feast's ``offline_store``, with the password: for Feast, never for a log."""
    url = _database()
    said = parts(url)
    found = {"type": "postgres", "db_schema": SCHEMA, **said, "port": int(said["port"])}
    files = {"sslkey_path": "sslkey", "sslcert_path": "sslcert", "sslrootcert_path": "sslrootcert"}
    return found | {ours: str(url.query[theirs]) for ours, theirs in files.items() if theirs in url.query}


def source() -> Any:
    """Feast's data source of the table."""
    from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource

    return PostgreSQLSource(
        name=TABLE,
        table=f"{SCHEMA}.{TABLE}",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description="All observation dates, written from the content store by digest.",
    )


def sync(digests: Mapping[str, str], *, store: ContentStore) -> int:
    """Make the table hold exactly these months. Only what has another digest is written.

    Args:
        digests: observation → digest of its feature table. All must have the same columns.

    Returns:
        Number of months written.

    Raises:
        FeatureError: PostgreSQL refuses a month.
        RecordError: it cannot be reached.
    """
    import psycopg
    import pyarrow.parquet as pq

    prepare()
    url = _database()
    schema = pq.read_schema(store.path(digests[max(digests)]))
    columns = {field.name: "timestamptz" if field.name in _TIMES else _type(field) for field in schema}
    if long := next((name for name in columns if len(name.encode()) > _NAME_BYTES), None):
        raise FeatureError(
            f"The feature {long} has a name of {len(long.encode())} bytes; PostgreSQL keeps {_NAME_BYTES}.",
            mend="Give the column a shorter name in the contract, or leave CHURN_OFFLINE_STORE at duckdb.",
            field=long,
        )
    try:
        with psycopg.connect(**connect_arguments(url, seconds=_CONNECT_SECONDS)) as connection:
            connection.execute(f"SET search_path = {SCHEMA}")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            held = _held(connection, columns)
            for month in sorted(set(held) - set(digests)):
                _remove(connection, month)
            changed = [month for month in sorted(digests) if held.get(month) != digests[month]]
            for month in changed:
                _remove(connection, month)
                _copy(connection, list(columns), pq.read_table(store.path(digests[month])))
                connection.execute(f"INSERT INTO {MONTHS} VALUES (%s, %s)", (month, digests[month]))
            if changed:
                connection.execute(f"ANALYZE {TABLE}")
    except psycopg.Error as error:
        raise FeatureError(
            f"The features could not be written to {spoken(url)}: {redacted(' '.join(str(error).split()), url)}",
            mend="See that the server runs and that this user owns the tables of its schema feast; then materialize "
            "online_features again: nothing was half written.",
            field="offline_store",
        ) from error
    return len(changed)


def _database() -> sa.URL:
    url = configured()
    if url is None:
        raise FeatureError(
            "CHURN_OFFLINE_STORE=postgres needs a database.",
            mend="Set CHURN_DATABASE_URL, or leave CHURN_OFFLINE_STORE at duckdb.",
            field="offline_store",
        )
    return url


def _held(connection: psycopg.Connection[Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Month → digest of what the table holds; it is made anew where its columns are others."""
    there = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (f"{SCHEMA}.{TABLE}",),
    ).fetchall()
    names = {"timestamptz": "timestamp with time zone"}
    if there == [(name, names.get(kind, kind)) for name, kind in columns.items()]:
        return dict(connection.execute(f"SELECT observation, digest FROM {MONTHS}").fetchall())
    listed = ", ".join(f"{_name(name)} {kind}" for name, kind in columns.items())
    connection.execute(f"DROP TABLE IF EXISTS {TABLE}, {MONTHS}")
    connection.execute(f"CREATE TABLE {TABLE} ({listed})")
    connection.execute(f"CREATE UNIQUE INDEX {TABLE}_newest ON {TABLE} (customer_id, event_timestamp DESC)")
    connection.execute(f"CREATE INDEX {TABLE}_moment ON {TABLE} (event_timestamp)")
    connection.execute(f"CREATE TABLE {MONTHS} (observation text PRIMARY KEY, digest text)")
    return {}


def _remove(connection: psycopg.Connection[Any], month: str) -> None:
    connection.execute(f"DELETE FROM {TABLE} WHERE event_timestamp = %s", (instant(month).replace(tzinfo=UTC),))
    connection.execute(f"DELETE FROM {MONTHS} WHERE observation = %s", (month,))


def _copy(connection: psycopg.Connection[Any], columns: list[str], table: pa.Table) -> None:
    import pyarrow as pa
    from pyarrow import csv

    for name in _TIMES:
        place = table.schema.get_field_index(name)
        moments = table.column(name).cast(pa.timestamp("us"))
        table = table.set_column(place, name, moments.cast(pa.timestamp("us", "UTC")))
    # pyarrow quotes text, so that an empty text is not null; numbers are written so that they read back the same
    sink = io.BytesIO()
    csv.write_csv(table.select(columns), sink, csv.WriteOptions(include_header=False))
    listed = ", ".join(_name(name) for name in columns)
    with connection.cursor().copy(f"COPY {TABLE} ({listed}) FROM STDIN (FORMAT csv)") as copy:
        copy.write(sink.getbuffer())


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _type(field: Any) -> str:
    import pyarrow as pa

    return "double precision" if pa.types.is_floating(field.type) else "text"
