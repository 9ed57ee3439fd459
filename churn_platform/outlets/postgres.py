"""The ranked list as a table in a PostgreSQL database of the company's: one transaction a month, the same twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from churn_platform.errors import ChurnError
from churn_platform.outlets.kinds import Ids
from churn_platform.outlets.lists import ListFacts
from churn_platform.records.libpq import connect_arguments, parsed, redacted

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

CONNECT_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 120

COLUMNS: Final = (
    "customer_id", "rank", "probability", "margin", "base_value", "risk_band", "mrr", "expected_loss", "reasons",
    "contributions", "model_version", "model_digest", "observation", "degraded",
)  # fmt: skip

# Step n brings a schema of version n - 1 to version n; steps are added, never changed.
STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE {schema}.scores (
            problem text NOT NULL,
            observation text NOT NULL,
            customer_id text NOT NULL,
            rank integer NOT NULL,
            probability double precision NOT NULL,
            margin double precision NOT NULL,
            base_value double precision NOT NULL,
            risk_band text NOT NULL,
            mrr double precision,
            expected_loss double precision,
            reasons text[] NOT NULL,
            contributions jsonb NOT NULL,
            model_version text NOT NULL,
            model_digest text NOT NULL,
            PRIMARY KEY (problem, observation, customer_id)
        )""",
        "CREATE INDEX scores_by_rank ON {schema}.scores (problem, observation, rank)",
        """CREATE TABLE {schema}.score_lists (
            problem text NOT NULL,
            observation text NOT NULL,
            digest text NOT NULL,
            ids text NOT NULL,
            row_count integer NOT NULL,
            model_version text NOT NULL,
            model_digest text NOT NULL,
            made_at timestamptz NOT NULL,
            written_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (problem, observation)
        )""",
        """CREATE VIEW {schema}.scores_current AS
            SELECT s.* FROM {schema}.scores s WHERE s.observation =
                (SELECT max(l.observation) FROM {schema}.score_lists l WHERE l.problem = s.problem)""",
        """COMMENT ON TABLE {schema}.scores IS
            'Who is likely to leave, by problem and observation month; rank 1: call first (churn-platform).'""",
    ),
    (
        "ALTER TABLE {schema}.scores ADD COLUMN degraded text",
        "ALTER TABLE {schema}.score_lists ADD COLUMN degraded text",
        # The view's columns are those that the table had when it was made.
        """CREATE OR REPLACE VIEW {schema}.scores_current AS
            SELECT s.* FROM {schema}.scores s WHERE s.observation =
                (SELECT max(l.observation) FROM {schema}.score_lists l WHERE l.problem = s.problem)""",
        """COMMENT ON COLUMN {schema}.scores.degraded IS
            'Why the list of that month stands on data that cannot be trusted; null where it does not.'""",
    ),
)
VERSION: Final = len(STEPS)


class TableError(ChurnError):
    code, title = "outlet-table", "The table of an outlet cannot be written"


def write_list(url: str, schema: str, facts: ListFacts, table: pa.Table, ids: Ids) -> str:
    """Let the month's rows be exactly those of the list.

    All in one transaction: a reader sees the old list or the new. A list that was made before the one that is there
    changes nothing, and the same list twice is as once.

    Args:
        url: ``postgresql://…``; the user must be allowed to create the schema, or own it.
        table: of :func:`churn_platform.outlets.lists.table_of`.

    Returns:
        What was done, in words.

    Raises:
        TableError: what the database said; no password is in it.
    """
    with _transaction(url, schema) as cursor:
        return _write(cursor, schema, facts, table, ids)


def probe(url: str, schema: str) -> str:
    """See that the tables are there or can be made; says so.

    Raises:
        TableError: what the database said.
    """
    with _transaction(url, schema):
        return f"the schema {schema} is ready at version {VERSION}"


@contextmanager
def _transaction(url: str, schema: str) -> Iterator[psycopg.Cursor[Any]]:
    """A transaction over tables at the newest version, alone in their schema."""
    import psycopg

    try:
        place = parsed(url)
    except ValueError as error:  # outlets of an earlier release
        raise TableError(f"The URL cannot be used: {error}.", mend="Remove the outlet and add it anew.") from None
    given = connect_arguments(place, seconds=CONNECT_SECONDS)
    try:
        with psycopg.connect(**given) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"churn outlet {schema}",))
            _migrate(cursor, schema)
            yield cursor
    except psycopg.Error as error:
        words = redacted(" ".join(str(error).split()), place)[:300]
        raise TableError(
            f"PostgreSQL says: {words}.", mend="See that the database runs and that its user may write the schema."
        ) from None  # whose words are not redacted


def _migrate(cursor: psycopg.Cursor[Any], schema: str) -> None:
    # IF NOT EXISTS needs the right to create one even where it exists.
    if cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is None:
        cursor.execute(f"CREATE SCHEMA {schema}")
    if cursor.execute("SELECT to_regclass(%s)", (f"{schema}.outlet_version",)).fetchone() == (None,):
        columns = "version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now()"
        cursor.execute(f"CREATE TABLE {schema}.outlet_version ({columns})")
    found = cursor.execute(f"SELECT coalesce(max(version), 0) FROM {schema}.outlet_version").fetchone()
    version = int(found[0]) if found else 0
    if version > VERSION:
        raise TableError(
            f"The schema {schema} is at version {version}; this release knows up to {VERSION}.",
            mend="Use the release that wrote it or a newer one, or another --schema.",
        )
    for number, statements in enumerate(STEPS[version:], start=version + 1):
        for statement in statements:
            cursor.execute(statement.format(schema=schema).encode())
        cursor.execute(f"INSERT INTO {schema}.outlet_version (version) VALUES (%s)", (number,))


def _write(cursor: psycopg.Cursor[Any], schema: str, facts: ListFacts, table: pa.Table, ids: Ids) -> str:
    month = (facts.problem, facts.month)
    present = cursor.execute(
        f"SELECT digest, ids, degraded, made_at = %s::timestamptz, made_at > %s::timestamptz FROM {schema}.score_lists "
        "WHERE problem = %s AND observation = %s",
        (facts.made_at, facts.made_at, *month),
    ).fetchone()
    reason = None if facts.degraded is None else str(facts.degraded["reason"])
    if present is not None and present[4]:
        return f"{facts.month} is there from a later list"
    if present is not None and present[:4] == (facts.digest, ids, reason, True):
        return f"{facts.month} is there already"
    names = ", ".join(COLUMNS)
    cursor.execute(f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {names} FROM {schema}.scores LIMIT 0")
    with cursor.copy(f"COPY incoming ({names}) FROM STDIN") as copy:
        for row in table.select(list(COLUMNS)).to_pylist():
            row["contributions"] = json.dumps(row["contributions"])
            row["reasons"] = row["reasons"] or []
            copy.write_row(tuple(row[name] for name in COLUMNS))
    changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in ("customer_id", "observation"))
    cursor.execute(
        f"INSERT INTO {schema}.scores (problem, {names}) SELECT %s, {names} FROM incoming "
        f"ON CONFLICT (problem, observation, customer_id) DO UPDATE SET {changed}",
        (facts.problem,),
    )
    cursor.execute(
        f"DELETE FROM {schema}.scores s WHERE problem = %s AND observation = %s "
        "AND NOT EXISTS (SELECT 1 FROM incoming i WHERE i.customer_id = s.customer_id)",
        month,
    )
    cursor.execute(
        f"INSERT INTO {schema}.score_lists "
        "(problem, observation, digest, ids, row_count, model_version, model_digest, made_at, degraded) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (problem, observation) DO UPDATE SET "
        "digest = excluded.digest, ids = excluded.ids, row_count = excluded.row_count, "
        "model_version = excluded.model_version, model_digest = excluded.model_digest, made_at = excluded.made_at, "
        "degraded = excluded.degraded, written_at = now()",
        (*month, facts.digest, ids, table.num_rows, facts.version, facts.model, facts.made_at, reason),
    )
    return f"{table.num_rows:,} rows of {facts.month}"
