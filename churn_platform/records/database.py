"""Where the tables live: SQLite files below the home, or, by ``CHURN_DATABASE_URL``, one PostgreSQL database.

In PostgreSQL each of the four libraries that keep tables has a schema of its own in the one database, chosen by the
``search_path`` in its URL: all of them ask the connection for its default schema, so none needs to know. One database
and not four, because then one setting says where it is, one grant lets the user in, and one ``pg_dump`` is one moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from churn_platform.errors import HomeError, RecordError
from churn_platform.records.files import create_once
from churn_platform.records.home import Home
from churn_platform.records.sql import CHAINS, open_database, reading
from churn_platform.settings import settings

Part = Literal["churn", "dagster", "mlflow", "feast"]
SCHEMAS: Final[tuple[Part, ...]] = ("churn", "dagster", "mlflow", "feast")
HOW_TO: Final = "docs/how-to/postgresql-production.md"
_CONNECT_SECONDS: Final = 10
# Any number will do, as long as every process takes the same for its turn at making the schemas.
_TURN: Final = 0x736368656D61


def configured() -> sa.URL | None:
    """The database of ``CHURN_DATABASE_URL``, without a schema; None where everything is in SQLite."""
    secret = settings().database_url
    if secret is None:
        return None
    # SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, with which Dagster's notifications fail.
    url = sa.make_url(secret.get_secret_value()).set(drivername="postgresql+psycopg2")
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(_CONNECT_SECONDS)})
    return url


def url_of(part: Part, home: Home) -> str:
    """The URL of one library's tables, with its password: for the library or an environment, never for a log."""
    url = configured()
    if url is None:
        return f"sqlite:///{_sqlite(part, home)}"
    given = url.query.get("options", "")
    options = given if isinstance(given, str) else " ".join(given)
    chosen = url.update_query_dict({"options": f"{options} -csearch_path={part}".strip()})
    place, mark, query = chosen.render_as_string(hide_password=False).partition("?")
    # libpq does not read "+" as a space; a "+" itself is written %2B.
    return place + mark + query.replace("+", "%20")


def own_tables(home: Home, file: Path) -> Path | str:
    """What :func:`churn_platform.records.sql.open_database` opens for tables of our own.

    Args:
        file: where they are without a database server.

    Raises:
        HomeError: the home's tables are of the other kind: identities and keys would be made anew.
        RecordError: the database cannot be reached.
    """
    _same_kind(home)
    if configured() is None:
        return file
    prepare()
    return url_of("churn", home)


def prepare() -> None:
    """Make the schemas that are missing in the configured database; nothing where there is none.

    Raises:
        RecordError: it cannot be reached, or this user may not make them.
    """
    url = configured()
    if url is None:
        return
    engine = sa.create_engine(url, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            if not _missing(connection):
                return
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
            for schema in _missing(connection):
                connection.execute(sa.schema.CreateSchema(schema))
    except DBAPIError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise RecordError(
            f"The database {spoken(url)} cannot be used: {' '.join(reason.split())}.",
            mend=_mend(reason, url),
            field="database_url",
        ) from error
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Reached:
    """What was found of the configured database."""

    place: str
    version: str
    schemas: tuple[str, ...]


def reach(home: Home) -> Reached | None:
    """Reach the configured database and open our own tables in it; None where everything is in SQLite.

    Raises:
        HomeError, RecordError: what is wrong, with its mend.
    """
    url = configured()
    if url is None:
        _same_kind(home)
        return None
    place = own_tables(home, home.identity_db)
    version = ""
    for chain in CHAINS:
        engine = open_database(place, chain)
        with reading(engine) as connection:
            version = str(connection.execute(sa.text("SHOW server_version")).scalar())
        engine.dispose()
    return Reached(spoken(url), version, SCHEMAS)


def mlflow_tables_exist(home: Home) -> bool:
    """Whether the model registry has been made.

    Raises:
        RecordError: the database cannot be reached.
    """
    url = configured()
    if url is None:
        return (home.mlflow / "mlflow.db").is_file()
    prepare()
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT to_regclass('mlflow.registered_models')")).scalar() is not None


def spoken(url: sa.URL) -> str:
    """A URL as it may be said: no password, no options."""
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


def _sqlite(part: Part, home: Home) -> Path:
    return {
        "churn": home.identity_db,
        "dagster": home.dagster / "storage",
        "mlflow": home.mlflow / "mlflow.db",
        "feast": home.feast / "registry.db",
    }[part]


def _missing(connection: sa.Connection) -> list[str]:
    names = connection.execute(sa.text("SELECT nspname FROM pg_namespace")).scalars().all()
    return [schema for schema in SCHEMAS if schema not in names]


def _same_kind(home: Home) -> None:
    """See that the home's tables are where the settings say; a new home remembers where that is.

    Raises:
        HomeError: they are not.
    """
    wanted = "sqlite" if configured() is None else "postgresql"
    mark = home.root / "DATABASE"
    if not mark.exists():
        older = (home.vault / "vault.db").exists() or home.identity_db.exists()
        create_once(mark, json.dumps({"database": "sqlite" if older else wanted}).encode() + b"\n", mode=0o644)
    try:
        found = json.loads(mark.read_bytes())["database"]
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(
            f"{mark} does not say where the home's tables are.", mend="Restore it from a backup.", field="home"
        ) from error
    if found == wanted:
        return
    if found == "sqlite":
        raise HomeError(
            f"The home {home.root} keeps its identities and keys in SQLite, but CHURN_DATABASE_URL is set.",
            mend=f"Unset it, or set CHURN_HOME to a new folder ({HOW_TO}).",
            field="database_url",
        )
    raise HomeError(
        f"The home {home.root} keeps its identities and keys in PostgreSQL, but CHURN_DATABASE_URL is not set.",
        mend=f"Set it to the database that this home was made with ({HOW_TO}).",
        field="database_url",
    )


def _mend(reason: str, url: sa.URL) -> str:
    """What can be done, by the words of libpq and the server."""
    words = reason.lower()
    if "password" in words or "authentication" in words:
        return "Mend user or password in CHURN_DATABASE_URL, or the line of pg_hba.conf."
    if "does not exist" in words and "database" in words:
        return f"Make it: createdb -O {url.username or 'USER'} {url.database}."
    if "permission denied" in words:
        return (
            f"GRANT CREATE ON DATABASE {url.database} TO {url.username}; or let an administrator make the schemas "
            f"{', '.join(SCHEMAS)} and give them to this user."
        )
    return "See that the server runs and that host, port and firewall are right: psql with the same URL must work."
