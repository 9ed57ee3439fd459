"""SQL databases that outlive a release: opened with their tables at head, on SQLite or PostgreSQL.

Alembic is loaded only when there is something to migrate: reading the version takes one statement.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from churn_platform.errors import HomeError, RecordError

Chain = Literal["identity", "outlets", "vault"]
CHAINS: Final[tuple[Chain, ...]] = ("identity", "outlets", "vault")

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_SECONDS: Final = 30.0
# Any number will do, as long as every process takes the same for its turn at migrating a PostgreSQL database.
_TURN: Final = 0x636875726E
_READING: Final = "churn_reading"


def head(migrations: Chain) -> str:
    """The newest revision of a chain, from its file names (``0001_api_keys.py``)."""
    return max(path.name[:4] for path in (MIGRATIONS / migrations / "versions").glob("[0-9]*.py"))


def version_table(migrations: Chain) -> str:
    """The table that holds a chain's revision: one each, so that two chains can share a database."""
    return f"{migrations}_version"


def connect_sqlite(path: Path) -> sqlite3.Connection:
    """A plain connection with the platform's settings: WAL, waits for locks, begins no transaction by itself.

    Usable from another thread than the one that made it, one at a time.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _retrying(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        # With WAL a commit is atomic in any case; FULL makes it survive a power cut, too.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def open_database(path_or_url: Path | str, migrations: Chain) -> sa.Engine:
    """Open a database with its tables at the newest revision.

    Args:
        path_or_url: a SQLite file, or a URL ``postgresql+psycopg2://…`` (``postgresql://…`` means the same)
            or ``sqlite:///…``.
        migrations: which chain of revisions the database follows.

    Returns:
        An engine. On SQLite every transaction takes the write lock when it begins, except those of
        :func:`reading`, and connections are not pooled (a fork would share them).

    Raises:
        HomeError: the tables were written by a newer release.
        RecordError: the database cannot be opened.
    """
    engine = _engine(path_or_url)
    try:
        if _revision(engine, migrations) != head(migrations):
            _migrate(engine, migrations)
    except (DBAPIError, sqlite3.Error, OSError) as error:
        engine.dispose()
        reason = getattr(error, "orig", None) or error
        raise RecordError(
            f"The database {engine.url.set(query={}).render_as_string()} cannot be opened: {str(reason).strip()}.",
            mend="Check that it exists, that this user may write it, and that it is one of this platform's.",
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that only reads, and so waits for no writer; it sees one state of the database."""
    with engine.execution_options(**{_READING: True}).connect() as connection:
        yield connection


def _engine(path_or_url: Path | str) -> sa.Engine:
    if isinstance(path_or_url, Path) or "://" not in path_or_url:
        url = sa.URL.create("sqlite", database=str(path_or_url))
    else:
        url = sa.make_url(path_or_url)
    if url.get_backend_name() == "postgresql":
        # SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3; we ship psycopg2.
        return sa.create_engine(url.set(drivername="postgresql+psycopg2"), pool_pre_ping=True)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise RecordError(
            f"The database {url.render_as_string()} is of a kind that is not supported.",
            mend="Give the path of a SQLite file, or a URL that begins with postgresql+psycopg2://.",
        )
    path = Path(url.database)
    engine = sa.create_engine(url, poolclass=NullPool, creator=lambda: connect_sqlite(path))

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that reads first and writes later may fail on a lock; this one waits its turn.
        reads = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _revision(engine: sa.Engine, migrations: Chain) -> str | None:
    with reading(engine) as connection:
        return _read_revision(connection, migrations)


def _read_revision(connection: sa.Connection, migrations: Chain) -> str | None:
    table = version_table(migrations)
    if not sa.inspect(connection).has_table(table):
        return None
    found: str | None = connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(table))).scalar()
    return found


def _migrate(engine: sa.Engine, migrations: Chain) -> None:
    from alembic import command
    from alembic.config import Config

    newest = head(migrations)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
        # Another process may have migrated while this one waited for its turn.
        found = _read_revision(connection, migrations)
        if found == newest:
            return
        if found is not None and found > newest:
            raise HomeError(
                f"The {migrations} database is at revision {found}; this release knows up to {newest}.",
                mend="Use the release that wrote it, or a newer one.",
                field="home",
            )
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS / migrations).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = version_table(migrations)
        command.upgrade(config, "head")


def _retrying(action: Callable[[], object]) -> None:
    """Try again while SQLite says "locked" where it does not wait by itself (the first switch to WAL)."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
