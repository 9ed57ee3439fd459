"""PostgreSQL as a :class:`~churn_platform.sources.readers_protocol.TableReader`, by COPY in one read-only snapshot."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ContractError, SourceError, SourceMissingError
from churn_platform.sources.readers_protocol import Mark, Sink, TableFacts
from churn_platform.sources.readers_url import SourceUrl, redact

if TYPE_CHECKING:
    import psycopg2.extensions
    import pyarrow as pa

CHUNK = 16 << 20
"""Bytes of COPY output that become one Arrow table."""
TIMEOUT_SECONDS = 10
OWN_OPTIONS = ("schema",)
"""Options of the URL that are ours; the driver does not know them."""
_TEXTS = ("text", "varchar", "bpchar", "char", "name", "uuid", "citext", "time", "timetz", "interval", "inet")
_INTEGERS = ("int2", "int4", "int8", "oid")
_EXACT_DIGITS = 15
"""Decimals of so many digits are doubles without loss; longer ones come as text, which the door parses."""

_COLUMNS = """
SELECT a.attname, coalesce(b.typname, t.typname), t.typtype, format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname FROM pg_catalog.pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.position
"""
_TABLES = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
ORDER BY 1, 2
"""
_FIND = """
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND lower(c.relname) = lower(%(name)s)
  AND CASE WHEN %(schema)s IS NULL THEN n.nspname = ANY (current_schemas(false))
           ELSE lower(n.nspname) = lower(%(schema)s) END
ORDER BY (c.relname = %(name)s) DESC, (n.nspname = %(schema)s) DESC,
         array_position(current_schemas(false), n.nspname), 2, 3
LIMIT 1
"""


@contextmanager
def postgres_reader(url: SourceUrl) -> Iterator[PostgresReader]:
    """Connect, in one read-only transaction of one snapshot. The password is libpq's: PGPASSWORD or ~/.pgpass.

    Raises:
        SourceMissingError: no such host, server or database.
        SourceError: the server does not let us in.
    """
    import psycopg2
    from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

    connection: psycopg2.extensions.connection | None = None
    try:
        try:
            connection = psycopg2.connect(
                url.without(*OWN_OPTIONS), connect_timeout=TIMEOUT_SECONDS, application_name="churn-platform"
            )
            connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
            connection.set_client_encoding("UTF8")
            with connection.cursor() as cursor:
                cursor.execute("SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET extra_float_digits = 3")
        except psycopg2.Error as error:
            raise _refused(url, error) from None
        yield PostgresReader(url, connection)
    finally:
        if connection is not None:
            connection.close()


class PostgresReader:
    """See :class:`~churn_platform.sources.readers_protocol.TableReader`."""

    def __init__(self, url: SourceUrl, connection: psycopg2.extensions.connection) -> None:
        self._url, self._connection = url, connection
        self._facts: dict[str, tuple[tuple[str, str], TableFacts, dict[str, str]]] = {}

    def tables(self) -> list[str]:
        """``schema.table`` of each table and view that may be read."""
        return [f"{schema}.{name}" for schema, name in self._query(_TABLES, None)]

    def describe(self, table: str) -> TableFacts:
        """The columns of a table.

        Raises:
            SourceMissingError: there is no such table.
        """
        return self._describe(table)[1]

    def now(self) -> datetime:
        """The server's clock at the beginning of the transaction, naive UTC."""
        moment: datetime = self._query("SELECT now() AT TIME ZONE 'UTC'", None)[0][0]
        return moment

    def count(self, table: str) -> int:
        """The number of rows."""
        from psycopg2 import sql

        (schema, name), _, _ = self._describe(table)
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))
        return int(self._query(query, None, table)[0][0])

    def read(
        self,
        table: str,
        columns: Sequence[str],
        sink: Sink,
        *,
        since: Mapping[str, Mark] | None = None,
        limit: int | None = None,
    ) -> int:
        """COPY rows to ``sink``. See the protocol."""
        import psycopg2
        import pyarrow as pa
        from psycopg2 import sql

        (schema, name), facts, casts = self._describe(table)
        for column in columns:
            if facts.columns.get(column) is None:
                kind = facts.types.get(column, "unknown")
                raise ContractError(
                    f"{facts.name}: column {column!r} has type {kind}, which is not read.",
                    mend="Make a view that gives it as text, number or time, and name the view in the contract.",
                )
        fields = sql.SQL(", ").join(
            sql.SQL(casts[c].replace("{}", "{column}")).format(column=sql.Identifier(c)) for c in columns
        )
        query = sql.SQL("SELECT {} FROM {}").format(fields, sql.Identifier(schema, name))
        if since:
            changed = [
                sql.SQL("{} >= {}").format(sql.Identifier(column), sql.Literal(mark)) for column, mark in since.items()
            ]
            query += sql.SQL(" WHERE ") + sql.SQL(" OR ").join(changed)
        if limit is not None:
            query += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, NULL '')").format(query)
        types: dict[str, pa.DataType] = {column: facts.columns[column] for column in columns}
        rows = _Rows(types, sink)
        try:
            with self._connection.cursor() as cursor:
                cursor.copy_expert(copy.as_string(cursor), rows, size=1 << 16)
            rows.flush()
        except psycopg2.Error as error:
            raise self._failed(error, facts.name) from None
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{facts.name} cannot be read from {self._url.place}: a value is not of its column's type.",
                mend="See that the database's encoding is UTF-8, or give a view with the column as text.",
            ) from error
        return rows.count

    def _describe(self, table: str) -> tuple[tuple[str, str], TableFacts, dict[str, str]]:
        if table in self._facts:
            return self._facts[table]
        schema, _, name = table.replace('"', "").rpartition(".")
        found = self._query(_FIND, {"schema": schema or self._url.option("schema"), "name": name})
        if not found:
            near = difflib.get_close_matches(table, self.tables(), n=3, cutoff=0.4) or self.tables()[:12]
            raise SourceMissingError(
                f"There is no table {table} in the database {self._url.database} at {self._url.place}.",
                mend=f"{'Nearest: ' + ', '.join(near) if near else 'This user may read no table there'}. "
                "Mend the table's path in the contract (schema.table), or let the user see it: GRANT USAGE ON SCHEMA.",
                field="tables",
            )
        oid, schema, name = found[0]
        columns: dict[str, Any] = {}
        types, casts = {}, {}
        for column, base, kind, shown, modifier in self._query(_COLUMNS, (oid,)):
            types[column] = shown
            columns[column], casts[column] = self._type(base, kind, modifier)
        key = tuple(row[0] for row in self._query(_KEY, (oid,)))
        self._facts[table] = ((schema, name), TableFacts(f"{schema}.{name}", columns, types, key), casts)
        return self._facts[table]

    def _type(self, base: str, kind: str, modifier: int) -> tuple[Any, str]:
        """The Arrow type of a PostgreSQL type, and the SQL that gives it as text."""
        import pyarrow as pa

        if base in _INTEGERS:
            return pa.int64(), "{}"
        if base in ("float4", "float8"):
            return pa.float64(), "{}::float8"
        if base in ("numeric", "money"):
            digits = (modifier - 4) >> 16 if modifier >= 4 and base == "numeric" else 1000
            if digits <= _EXACT_DIGITS:
                return pa.float64(), "{}"
            # trim_scale is of PostgreSQL 13; before, 7.00 stays 7.00
            trimmed = (
                "trim_scale({}::numeric)::text" if self._connection.server_version >= 130000 else "{}::numeric::text"
            )
            return pa.string(), trimmed
        if base == "bool":
            return pa.bool_(), "{}"
        if base in ("date", "timestamp", "timestamptz"):
            # infinity, and years that no other system holds, are no times
            within = f"CASE WHEN {{}} >= '0001-01-01'::{base} AND {{}} < '10000-01-01'::{base} THEN {{}} END"
            arrow = {"date": pa.date32(), "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC")}
            return arrow[base], within
        if base in _TEXTS or kind == "e":
            return pa.string(), "{}::text"
        return None, "{}"

    def _query(self, query: Any, parameters: Any, table: str = "") -> list[tuple[Any, ...]]:
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query, parameters)
                return list(cursor.fetchall())
        except psycopg2.Error as error:
            raise self._failed(error, table) from None

    def _failed(self, error: Any, table: str) -> SourceError:
        what = f"{table} in the database {self._url.database}" if table else f"The database {self._url.database}"
        if error.pgcode == "42501":
            return SourceError(
                f"{what} at {self._url.place} may not be read by this user: {_first(error)}.",
                mend=f"Let it: GRANT SELECT ON {table or 'the tables'} TO that user.",
                field="source",
            )
        return SourceError(
            f"{what} at {self._url.place} could not be read: {_first(error)}.",
            mend="See the server's log; run the command again when the server answers. Nothing was changed here.",
            field="source",
        )


class _Rows:
    """The file that COPY writes to: rows of CSV in, Arrow tables out. libpq gives whole rows to each write."""

    def __init__(self, types: Mapping[str, pa.DataType], sink: Sink) -> None:
        self._types, self._sink = types, sink
        self._buffer = io.BytesIO()
        self.count = 0

    def write(self, row: bytes | str) -> int:
        data = row.encode() if isinstance(row, str) else row
        self._buffer.write(data)
        if self._buffer.tell() >= CHUNK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        import pyarrow.csv as pc

        size = self._buffer.tell()
        if not size:
            return
        self._buffer.seek(0)
        table = pc.read_csv(
            self._buffer,
            read_options=pc.ReadOptions(column_names=list(self._types), block_size=size + 1, use_threads=False),
            parse_options=pc.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=pc.ConvertOptions(
                column_types=dict(self._types),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        self.count += table.num_rows
        self._buffer = io.BytesIO()
        self._sink(table)


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return redact(text.removeprefix("ERROR:").strip().rstrip("."))


def _refused(url: SourceUrl, error: BaseException) -> SourceError:
    """Why the server did not let us in, as a paragraph with its mend. libpq gives its reasons as text only."""
    text = str(error).lower()
    said = redact(" ".join(str(error).split())).rstrip(".?")
    if "password" in text or "fe_sendauth" in text or "authentication failed" in text:
        return SourceError(
            f"The server {url.place} did not accept the password of this user.",
            mend="Set PGPASSWORD, or write a line host:port:database:user:password into ~/.pgpass (mode 0600).",
            field="source",
        )
    if "database" in text and "does not exist" in text:
        return SourceMissingError(
            f"There is no database {url.database!r} at {url.place}.",
            mend="Mend the last part of the URL: postgresql://user@host:port/DATABASE.",
            field="source",
        )
    if "role" in text and "does not exist" in text:
        return SourceError(
            f"The server {url.place} knows no such user: {said}.",
            mend="Mend the user in the URL: postgresql://USER@host:port/database.",
            field="source",
        )
    if "pg_hba.conf" in text:
        return SourceError(
            f"The server {url.place} lets nobody in from here as this user: {said}.",
            mend="Ask its administrator for a line in pg_hba.conf, or add ?sslmode=require to the URL.",
            field="source",
        )
    if any(part in text for part in ("translate host", "name or service", "name resolution", "no address")):
        return SourceMissingError(
            f"There is no host {url.place}.", mend="Mend the host in the URL, or see the name service.", field="source"
        )
    return SourceMissingError(
        f"No PostgreSQL server answers at {url.place}: {said}.",
        mend="See that host and port in the URL are right, that the server runs, and that a firewall lets you through.",
        field="source",
    )


__all__ = ["PostgresReader", "postgres_reader"]
