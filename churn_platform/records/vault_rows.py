"""The rows of the identity vault, in SQLite or in PostgreSQL: plain statements, no knowledge of keys.

Both are safe to use from several processes, threads and forked children at once: each thread of each process has a
connection of its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import sqlalchemy as sa

from churn_platform.errors import RecordError
from churn_platform.records.sql import connect_sqlite

if TYPE_CHECKING:
    import psycopg2.extensions

_BATCH: Final = 10_000
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

IdentityRow = tuple[bytes, str, bytes]
"""Lookup, pseudonym, sealed id."""


class VaultRows(Protocol):
    """What the vault asks of its database."""

    def writing(self) -> AbstractContextManager[None]:
        """A transaction that no other writer shares; what this thread does inside belongs to it."""

    def fact(self, name: str) -> bytes | None:
        """A fact about the vault."""

    def set_fact(self, name: str, value: bytes) -> None:
        """Set a fact."""

    def set_fact_once(self, name: str, value: bytes) -> None:
        """Set a fact unless it is set."""

    def any(self) -> bool:
        """Whether there is any identity."""

    def pseudonym(self, lookup: bytes) -> str | None:
        """The pseudonym of one lookup."""

    def pseudonyms(self, lookups: Sequence[bytes]) -> dict[bytes, str]:
        """The pseudonyms of those lookups that are there."""

    def rows(self, pseudonyms: Sequence[str]) -> list[IdentityRow]:
        """The rows of those pseudonyms that are there."""

    def held(self, pseudonyms: Sequence[str]) -> set[str]:
        """Those pseudonyms that are taken."""

    def insert(self, rows: Sequence[IdentityRow]) -> None:
        """Add identities."""


class _PerThread(threading.local):
    """The connection of a thread, and the process that it belongs to."""

    connection: Any = None
    inherited: Any = None
    process: int | None = None


class SqliteRows:
    """The rows in a SQLite file that is migrated to head."""

    def __init__(self, path: Path) -> None:
        self._path, self._local = path, _PerThread()

    @contextmanager
    def writing(self) -> Iterator[None]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def fact(self, name: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: bytes) -> None:
        self._connection.execute(
            "INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def set_fact_once(self, name: str, value: bytes) -> None:
        self._connection.execute("INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))

    def any(self) -> bool:
        return bool(self._connection.execute("SELECT EXISTS (SELECT 1 FROM identity)").fetchone()[0])

    def pseudonym(self, lookup: bytes) -> str | None:
        row = self._connection.execute("SELECT pseudonym FROM identity WHERE lookup = ?", (lookup,)).fetchone()
        return row[0] if row else None

    def pseudonyms(self, lookups: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for batch in batches(lookups):
            marks = ",".join("?" * len(batch))
            found.update(
                self._connection.execute(f"SELECT lookup, pseudonym FROM identity WHERE lookup IN ({marks})", batch)
            )
        return found

    def rows(self, pseudonyms: Sequence[str]) -> list[IdentityRow]:
        found: list[IdentityRow] = []
        for batch in batches(pseudonyms):
            marks = ",".join("?" * len(batch))
            found += self._connection.execute(
                f"SELECT lookup, pseudonym, sealed FROM identity WHERE pseudonym IN ({marks})", batch
            )
        return found

    def held(self, pseudonyms: Sequence[str]) -> set[str]:
        return {row[1] for row in self.rows(pseudonyms)}

    def insert(self, rows: Sequence[IdentityRow]) -> None:
        self._connection.executemany("INSERT INTO identity (lookup, pseudonym, sealed) VALUES (?, ?, ?)", rows)

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's connection. A forked child opens its own: SQLite's locks do not survive a fork."""
        local = self._local
        if local.process != os.getpid():
            # A connection from before the fork is kept, not closed: closing it could disturb the parent's.
            local.inherited = local.connection
            local.connection = connect_sqlite(self._path)
            local.process = os.getpid()
        connection: sqlite3.Connection = local.connection
        return connection


class PostgresRows:
    """The rows in PostgreSQL. A connection that the server has closed is opened anew, outside transactions."""

    def __init__(self, url: str) -> None:
        self._url, self._local = sa.make_url(url), _PerThread()

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._read("SELECT 1")  # a connection that has died is found before the transaction, not in it
        connection = self._connection
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                # Lets readers through, and no other writer: what is read inside stays true until the end.
                cursor.execute("LOCK TABLE identity IN SHARE ROW EXCLUSIVE MODE")
                yield
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    cursor.execute("ROLLBACK")
                raise

    def fact(self, name: str) -> bytes | None:
        rows = self._read("SELECT value FROM fact WHERE name = %s", (name,))
        return bytes(rows[0][0]) if rows else None

    def set_fact(self, name: str, value: bytes) -> None:
        self._write(
            "INSERT INTO fact (name, value) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def set_fact_once(self, name: str, value: bytes) -> None:
        self._write("INSERT INTO fact (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, value))

    def any(self) -> bool:
        return bool(self._read("SELECT EXISTS (SELECT 1 FROM identity)")[0][0])

    def pseudonym(self, lookup: bytes) -> str | None:
        rows = self._read("SELECT pseudonym FROM identity WHERE lookup = %s", (lookup,))
        return str(rows[0][0]) if rows else None

    def pseudonyms(self, lookups: Sequence[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for batch in batches(lookups):
            rows = self._read("SELECT lookup, pseudonym FROM identity WHERE lookup = ANY(%s::bytea[])", (batch,))
            found.update((bytes(lookup), pseudonym) for lookup, pseudonym in rows)
        return found

    def rows(self, pseudonyms: Sequence[str]) -> list[IdentityRow]:
        found: list[IdentityRow] = []
        for batch in batches(pseudonyms):
            rows = self._read("SELECT lookup, pseudonym, sealed FROM identity WHERE pseudonym = ANY(%s)", (batch,))
            found += [(bytes(lookup), pseudonym, bytes(sealed)) for lookup, pseudonym, sealed in rows]
        return found

    def held(self, pseudonyms: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for batch in batches(pseudonyms):
            found |= {
                row[0] for row in self._read("SELECT pseudonym FROM identity WHERE pseudonym = ANY(%s)", (batch,))
            }
        return found

    def insert(self, rows: Sequence[IdentityRow]) -> None:
        from psycopg2.extras import execute_values

        with self._connection.cursor() as cursor:
            execute_values(cursor, "INSERT INTO identity (lookup, pseudonym, sealed) VALUES %s", rows, page_size=1000)

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        def ask() -> list[tuple[Any, ...]]:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()

        return self._again(ask)

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _again(self, ask: Callable[[], _Found]) -> _Found:
        """Ask, and once more over a new connection where the old one has died (a server that was restarted)."""
        from psycopg2 import InterfaceError, OperationalError
        from psycopg2.extensions import TRANSACTION_STATUS_IDLE

        idle = self._connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        try:
            return ask()
        except (InterfaceError, OperationalError):
            if not idle:  # what came before in the transaction is lost: it must be done again as a whole
                raise
            self._local.process = None
            return ask()

    @property
    def _connection(self) -> psycopg2.extensions.connection:
        """This thread's connection. A forked child opens its own: two processes cannot share a socket."""
        local = self._local
        if local.process != os.getpid() or local.connection.closed:
            import psycopg2

            local.inherited = local.connection  # of the parent: not to be closed here
            _, options = sa.dialects.registry.load("postgresql.psycopg2")().create_connect_args(self._url)
            try:
                local.connection = psycopg2.connect(**options)
            except psycopg2.OperationalError as error:
                raise RecordError(
                    f"The identity vault cannot be reached: {' '.join(str(error).split())}.",
                    mend="See that the server of CHURN_DATABASE_URL runs: `churn doctor`.",
                ) from error
            local.connection.autocommit = True
            local.process = os.getpid()
        connection: psycopg2.extensions.connection = local.connection
        return connection


def batches(items: Sequence[_Item], size: int = _BATCH) -> Iterator[list[_Item]]:
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
