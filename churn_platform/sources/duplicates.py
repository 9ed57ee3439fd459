"""One row per key: the same row delivered twice is dropped, rows that contradict each other are not believed.

Nothing here may depend on what became known later: of several deliveries the first known one stands, and a
value that came later keeps the earliest time at which it was known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_platform.sources.staging import SALT, SEPARATOR, Plan, Staged

if TYPE_CHECKING:
    import duckdb

CONFLICTS = "conflicts"
"""Table of contradicting rows: customer_id, rid, event, known."""


@dataclass(frozen=True)
class Duplicates:
    """Rows that were dropped as repetitions, and rows taken out since they contradict another with the same
    key."""

    dropped: int
    conflicting: int


def resolve(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> Duplicates:
    """Make the staged table (whose broken rows are gone) unique by ``rid``."""
    connection.execute(
        f"CREATE OR REPLACE TABLE {CONFLICTS} AS SELECT customer_id, rid, event, known FROM {staged} LIMIT 0"
    )
    connection.execute(f"CREATE OR REPLACE TABLE repeated AS SELECT rid FROM {staged} GROUP BY rid HAVING count(*) > 1")
    if not _count(connection, "repeated"):
        return Duplicates(0, 0)
    if not plan.keyed:
        _number(connection, plan, staged)
        return Duplicates(0, 0)
    content = _text(["customer_id", "event", *(column.alias for column in plan.own)])
    connection.execute(
        "CREATE OR REPLACE TABLE repeats AS SELECT *, min(known) OVER (PARTITION BY rid) AS first_known FROM "
        f"(SELECT *, md5({content}) AS content FROM {staged} WHERE rid IN (FROM repeated))"
    )
    connection.execute(
        "CREATE OR REPLACE TABLE firsts AS SELECT rid, min(content) AS content FROM repeats "
        "WHERE known = first_known GROUP BY rid HAVING count(DISTINCT content) = 1"
    )
    connection.execute(
        f"INSERT INTO {CONFLICTS} SELECT customer_id, rid, event, known FROM repeats "
        "WHERE (rid, content) NOT IN (SELECT (rid, content) FROM firsts)"
    )
    connection.execute(f"DELETE FROM {staged} WHERE rid IN (FROM repeated)")
    connection.execute(f"INSERT INTO {staged} BY NAME {_merged(plan)}")
    total, kept = _count(connection, "repeats"), _count(connection, "firsts")
    conflicting = _count(connection, CONFLICTS)
    for table in ("repeats", "firsts", "repeated"):
        connection.execute(f"DROP TABLE {table}")
    return Duplicates(dropped=total - kept - conflicting, conflicting=conflicting)


def _merged(plan: Plan) -> str:
    fields = ["r.rid AS rid", "min(r.known) AS known"]
    fields += [f"any_value(r.{name}) AS {name}" for name in ("customer_id", "event")]
    fields += [f"any_value(r.{column.alias}) AS {column.alias}" for column in plan.own]
    for position in range(len(plan.helpers)):
        helper = f"h{position}"
        later = [column.alias for column in plan.columns if column.helper == position]
        packed = ", ".join(f"'{alias}': r.{alias}" for alias in (helper, *later))
        # the order must be total, or two runs could differ
        earliest = f"first({{{packed}}} ORDER BY r.{helper} NULLS LAST, {_text(later, 'r.')})"
        fields += [f"{earliest}.{alias} AS {alias}" for alias in (helper, *later)]
    fields += [f"0 AS f{i}" for i in range(plan.masks)]
    return f"SELECT {', '.join(fields)} FROM repeats AS r JOIN firsts USING (rid, content) GROUP BY r.rid"


def _number(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> None:
    """Without a key, rows of equal content are different rows: number them, those that were complete first
    ahead."""
    helpers = [f"h{position}" for position in range(len(plan.helpers))]
    later: list[Staged] = [column for column in plan.columns if column.helper is not None]
    order = [f"least({', '.join(helpers)}) NULLS LAST"] if helpers else []
    order += [f"{helper} NULLS LAST" for helper in helpers]
    order.append(_text([column.alias for column in later]))
    connection.execute(
        f"CREATE OR REPLACE TABLE numbered AS SELECT rowid AS place, rid, row_number() OVER "
        f"(PARTITION BY rid ORDER BY {', '.join(order)}) AS occurrence FROM {staged} WHERE rid IN (FROM "
        f"repeated)"
    )
    hashed = f"md5_number_lower(getvariable('{SALT}') || numbered.rid::VARCHAR || {SEPARATOR} || occurrence::VARCHAR)"
    connection.execute(
        f"UPDATE {staged} SET rid = {hashed} FROM numbered WHERE {staged}.rowid = numbered.place AND occurrence > 1"
    )
    connection.execute("DROP TABLE numbered")


def _text(aliases: list[str], prefix: str = "") -> str:
    """SQL: the values as one text in which NULL differs from the empty text."""
    parts = [f"coalesce({prefix}{alias}::VARCHAR, chr(30))" for alias in aliases]
    return f" || {SEPARATOR} || ".join(parts) if parts else "''"


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0
