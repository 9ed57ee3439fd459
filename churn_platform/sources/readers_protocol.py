"""What the platform asks of a database: the one interface that a further backend has to implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from churn_platform.errors import SourceMissingError
from churn_platform.sources.readers_url import SourceUrl

if TYPE_CHECKING:
    import pyarrow as pa

Mark = datetime | date | int
"""The greatest value of a column that says when rows change, in that column's own terms."""
Sink = Callable[["pa.Table"], None]
"""Takes the next rows, some megabytes at a time."""


@dataclass(frozen=True)
class TableFacts:
    """What a database says of a table.

    Args:
        name: as the contract's ``path`` may write it, ``schema.table``.
        columns: column → the Arrow type that its values come as; None where the type is not read.
        types: column → the database's name of its type.
        key: the primary key, if it has one.
    """

    name: str
    columns: Mapping[str, pa.DataType | None]
    types: Mapping[str, str]
    key: tuple[str, ...] = ()


class TableReader(Protocol):
    """One consistent view of a database: everything that is read through it was true at the same moment.

    Every method raises :class:`~churn_platform.errors.SourceError` with its mend, and no password in it.
    """

    def tables(self) -> list[str]:
        """``schema.table`` of each table and view that may be read, without the database's own."""
        ...

    def describe(self, table: str) -> TableFacts:
        """The columns of a table."""
        ...

    def now(self) -> datetime:
        """The database's clock, naive UTC."""
        ...

    def count(self, table: str) -> int:
        """The number of rows."""
        ...

    def read(
        self,
        table: str,
        columns: Sequence[str],
        sink: Sink,
        *,
        since: Mapping[str, Mark] | None = None,
        limit: int | None = None,
    ) -> int:
        """Send rows to ``sink`` as tables with the types of :meth:`describe`; returns their number.

        Args:
            since: only rows of which one of these columns is at least its mark.
            limit: at most so many rows, any.
        """
        ...


def open_reader(url: SourceUrl) -> AbstractContextManager[TableReader]:
    """Connect to a database. A further backend is one module with a :class:`TableReader` and one line here.

    Raises:
        SourceMissingError: no such server or database.
        SourceError: a server that does not let us in.
    """
    if url.scheme == "postgresql":
        from churn_platform.sources.readers_postgres import postgres_reader

        return postgres_reader(url)
    from churn_platform.sources.readers_ibis import BACKENDS, ibis_reader

    if url.scheme in BACKENDS:
        return ibis_reader(url)
    raise SourceMissingError(f"{url.scheme}:// is no database that is read.", mend="Give a postgresql:// URL.")
