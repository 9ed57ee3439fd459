"""Clean rows as bitemporal revisions, cut by the month in which each became known, into the content store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from churn_platform.sources import effective
from churn_platform.sources.engine import literal, quote
from churn_platform.sources.staging import Plan
from churn_platform.sources.tables import SNAPSHOT, TablePart, TableVersion, observation_time

if TYPE_CHECKING:
    import duckdb

    from churn_platform.records.store import ContentStore

REVISIONS = "revisions"


def revise(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> str:
    """Write the revisions of every row; returns the name of the table, which takes the place of the staged
    one.

    A row's first revision is known when the row arrived; a value of a known_at column is NULL in every
    revision before its time. Columns: ``customer_id``, ``rid``, ``event``, ``known`` and the passed aliases.
    """
    if not plan.helpers and not plan.spans:
        return staged
    times = ", ".join(["known", *(f"h{position}" for position in range(len(plan.helpers))), *effective.moments(plan)])
    fields = [effective.value_at(column, "moment") for column in plan.columns]
    early = f"WHERE moment <= TIMESTAMP '{plan.limit:%Y-%m-%d %H:%M:%S}'" if plan.spans and plan.limit else ""
    connection.execute(
        f"CREATE OR REPLACE TABLE {REVISIONS} AS SELECT customer_id, rid, event, moment AS known, "
        f"{', '.join(fields)} "
        f"FROM (SELECT *, unnest(list_distinct([{times}])) AS moment FROM {staged}) {early}"
    )
    connection.execute(f"DROP TABLE {staged}")
    return REVISIONS


def write_parts(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    rows: str,
    store: ContentStore,
    *,
    corrections: str | None = None,
    blocked: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[TablePart, ...]:
    """Write one Parquet object per calendar month (a snapshot: one in all), oldest first.

    The months do not depend on which observation dates are asked for, nor on how much history there is, so
    that a part is the same object in every load that knows all of it. The same rows give the same bytes.

    Args:
        corrections: a table with the times (``known``) at which rows were corrected.
        blocked: month → column → why it is unusable in the month's part.
    """
    if plan.name == SNAPSHOT:
        return (_write(connection, plan, rows, store, SNAPSHOT, ""),)
    # a revision known at midnight of the first belongs to what is known by that midnight
    month = "(date_trunc('month', known - INTERVAL 1 MICROSECOND) + INTERVAL 1 MONTH)::DATE"
    corrected: set[str] = set()
    if corrections:
        made = connection.execute(f"SELECT DISTINCT {month}::VARCHAR FROM {corrections}").fetchall()
        corrected = {str(key) for (key,) in made}
    found = connection.execute(f"SELECT DISTINCT {month}::VARCHAR FROM {rows} ORDER BY 1").fetchall()
    parts = []
    for (known_by,) in found:
        upper = f"TIMESTAMP {literal(known_by)}"
        within = f"WHERE known > {upper} - INTERVAL 1 MONTH AND known <= {upper}"
        part = _write(connection, plan, rows, store, known_by, within)
        unusable = tuple(sorted((blocked or {}).get(known_by, {}).items()))
        parts.append(replace(part, corrected=known_by in corrected, blocked=unusable))
    return tuple(parts)


def empty_part(
    connection: duckdb.DuckDBPyConnection, plan: Plan, rows: str, store: ContentStore, known_by: str
) -> TablePart:
    """A part without rows: a table of which nothing is known yet still has its columns."""
    return _write(connection, plan, rows, store, known_by, "WHERE false")


def _write(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    rows: str,
    store: ContentStore,
    known_by: str,
    where: str,
) -> TablePart:
    fields = [
        "customer_id",
        "lpad(lower(hex(rid)), 16, '0') AS row_id",
        "event AS event_time",
        "known AS ingested_at",
    ]
    fields += [f"{column.alias} AS {quote(column.name)}" for column in plan.columns]
    with store.temporary() as path:
        written = connection.execute(
            f"COPY (SELECT {', '.join(fields)} FROM {rows} {where} ORDER BY known, rid) TO "
            f"{literal(str(path))} "
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
        ).fetchone()
        return TablePart(known_by, store.put_file(path, move=True), int(written[0]) if written else 0)


def version_at(table: str, observation: str, parts: Sequence[TablePart], empty: TablePart) -> TableVersion:
    """All parts known by an observation date."""
    if observation == SNAPSHOT:
        return TableVersion(table, observation, tuple(parts))
    moment = observation_time(observation)
    known = tuple(part for part in parts if observation_time(part.known_by) <= moment)
    return TableVersion(table, observation, known or (TablePart(observation, empty.digest, 0),))
