"""Any Ibis backend as a :class:`~churn_platform.sources.readers_protocol.TableReader`.

A further warehouse is one function in :data:`BACKENDS` that connects with keys from the environment.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from churn_platform import clock
from churn_platform.errors import ContractError, SourceError, SourceMissingError
from churn_platform.sources.readers_protocol import Mark, Sink, TableFacts
from churn_platform.sources.readers_url import SourceUrl, redact

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 100_000
SYSTEM = ("information_schema", "pg_catalog", "system", "temp")
_EXACT_DIGITS = 15


def _duckdb(url: SourceUrl) -> Any:
    import ibis

    parts = urlsplit(url.text)
    file = Path(unquote(parts.netloc + parts.path)).expanduser()
    if not file.is_file():
        raise SourceMissingError(
            f"There is no DuckDB file {file}.", mend="Write duckdb:///ABSOLUTE/PATH.duckdb.", field="source"
        )
    return ibis.duckdb.connect(str(file), read_only=True)


BACKENDS: dict[str, Callable[[SourceUrl], Any]] = {"duckdb": _duckdb}
"""URL scheme → a function that connects and returns an Ibis backend."""


@contextmanager
def ibis_reader(url: SourceUrl) -> Iterator[IbisReader]:
    """Connect. Whether all is read as of one moment is the backend's doing: DuckDB's files do not change meanwhile.

    Raises:
        SourceMissingError: no such database.
        SourceError: it does not let us in.
    """
    try:
        backend = BACKENDS[url.scheme](url)
    except SourceError:
        raise
    except Exception as error:  # each backend has errors of its own
        raise SourceMissingError(
            f"{url} cannot be opened: {_first(error)}.",
            mend="See that the URL is right, and that nobody else holds the database.",
            field="source",
        ) from None
    try:
        yield IbisReader(url, backend)
    finally:
        backend.disconnect()


class IbisReader:
    """See :class:`~churn_platform.sources.readers_protocol.TableReader`."""

    def __init__(self, url: SourceUrl, backend: Any) -> None:
        self._url, self._backend = url, backend

    def tables(self) -> list[str]:
        """``schema.table`` of each table and view."""
        schemas = [name for name in self._backend.list_databases() if name not in SYSTEM]
        return sorted(f"{s}.{table}" for s in schemas for table in self._backend.list_tables(database=s))

    def describe(self, table: str) -> TableFacts:
        """The columns of a table.

        Raises:
            SourceMissingError: there is no such table.
        """
        schema = self._table(table).schema()
        columns = {name: _arrow(type) for name, type in schema.items()}
        return TableFacts(self._name(table), columns, {name: str(type) for name, type in schema.items()})

    def now(self) -> datetime:
        """The wall clock, naive UTC."""
        return clock.wall().replace(tzinfo=None)

    def count(self, table: str) -> int:
        """The number of rows."""
        return int(self._table(table).count().execute())

    def read(
        self,
        table: str,
        columns: Sequence[str],
        sink: Sink,
        *,
        since: Mapping[str, Mark] | None = None,
        limit: int | None = None,
    ) -> int:
        """Send rows to ``sink``. See the protocol."""
        import ibis
        import pyarrow as pa

        rows, facts = self._table(table), self.describe(table)
        unread = [column for column in columns if facts.columns.get(column) is None]
        if unread:
            raise ContractError(
                f"{facts.name}: column {unread[0]!r} has type {facts.types.get(unread[0])}, which is not read.",
                mend="Make a view that gives it as text, number or time, and name the view in the contract.",
            )
        if since:
            changed = [rows[name] >= ibis.literal(mark, type=rows[name].type()) for name, mark in since.items()]
            rows = rows.filter(reduce(operator.or_, changed))
        if limit is not None:
            rows = rows.limit(limit)
        schema = pa.schema([(column, facts.columns[column]) for column in columns])
        casts = {column: rows[column].cast(_cast(facts.columns[column])) for column in columns}
        number = 0
        try:
            for batch in rows.select(**casts).to_pyarrow_batches(chunk_size=CHUNK_ROWS):
                sink(pa.Table.from_batches([batch]).cast(schema))
                number += batch.num_rows
        except Exception as error:
            raise SourceError(
                f"{facts.name} cannot be read from {self._url}: {_first(error)}.",
                mend="Run the command again when the database answers. Nothing was changed here.",
                field="source",
            ) from None
        return number

    def _name(self, table: str) -> str:
        known = {name.casefold(): name for name in self.tables()}
        wanted = table.replace('"', "").casefold()
        found = known.get(wanted) or known.get(f"{self._url.option('schema') or 'main'}.{wanted}".casefold())
        if found is None:
            near = difflib.get_close_matches(table, list(known.values()), n=3, cutoff=0.4) or list(known.values())[:12]
            raise SourceMissingError(
                f"There is no table {table} in {self._url}.",
                mend=f"Nearest: {', '.join(near) or 'none'}. Mend the table's path in the contract (schema.table).",
                field="tables",
            )
        return found

    def _table(self, table: str) -> Any:
        schema, _, name = self._name(table).rpartition(".")
        return self._backend.table(name, database=schema)


def _arrow(type: Any) -> pa.DataType | None:
    """The Arrow type that values of an Ibis type come as; None where they are not read."""
    import pyarrow as pa

    if type.is_integer():
        return pa.int64()
    if type.is_floating():
        return pa.float64()
    if type.is_decimal():
        return pa.float64() if (type.precision or 1000) <= _EXACT_DIGITS else pa.string()
    if type.is_boolean():
        return pa.bool_()
    if type.is_date():
        return pa.date32()
    if type.is_timestamp():
        return pa.timestamp("us", "UTC" if type.timezone else None)
    return pa.string() if type.is_string() or type.is_uuid() else None


def _cast(arrow: pa.DataType) -> str:
    names = {"int64": "int64", "double": "float64", "bool": "boolean", "date32[day]": "date", "string": "string"}
    return names.get(str(arrow)) or ("timestamp('UTC', 6)" if "UTC" in str(arrow) else "timestamp(6)")


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return redact(lines[0].rstrip(".") if lines else type(error).__name__)
