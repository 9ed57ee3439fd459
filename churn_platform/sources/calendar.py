"""Which observation dates a source has. The data decides that, not the wall clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from churn_platform import clock
from churn_platform.errors import DataFaultError
from churn_platform.sources.contract import SNAPSHOT_TABLE, Column, Contract
from churn_platform.sources.engine import engine, quote
from churn_platform.sources.parsing import layered, parse
from churn_platform.sources.readers import RawTable, open_table
from churn_platform.sources.tables import SNAPSHOT, SNAPSHOT_AS_OF

if TYPE_CHECKING:
    import duckdb

ACTIVITY = ("usage", "orders", "invoices", "subscriptions", "accounts")
"""The first of these that a contract has says when history begins, unless its label names a table."""
HISTORY_DAYS, SHORT_HISTORY_DAYS, ENOUGH_DATES = 90, 30, 12
STRAY_MONTHS = 6
"""Times that lie this many empty months away from all others, and are few, do not move the calendar."""


@dataclass(frozen=True)
class Calendar:
    """The time that a source covers.

    Args:
        first_event: the first event of the activity table (naive UTC); None for a snapshot.
        as_of: the end of the day of the newest knowledge (naive UTC): the next midnight.
        observations: month starts with enough history before them, as ``YYYY-MM-DD``; ``("snapshot",)`` for
            a flat file.
    """

    first_event: datetime | None
    as_of: datetime
    observations: tuple[str, ...]

    @property
    def waits_briefly(self) -> bool:
        """Whether its first date has less history before it than a long one asks for."""
        if self.first_event is None or not self.observations:
            return False
        return datetime.fromisoformat(self.observations[0]) < self.first_event + timedelta(days=HISTORY_DAYS)


def observe_dates(
    contract: Contract, source: Path, *, tmp: Path | None = None, before: Calendar | None = None
) -> Calendar:
    """Read the times of every table, and nothing else.

    Args:
        source: the folder that the contract's paths are relative to.
        tmp: where DuckDB may spill.
        before: what was found in the same source earlier. Where it had too few dates to wait long for the first, the
            history that has grown since does not take the early ones away: models have learned from them.

    Raises:
        SourceMissingError, ContractError: a table or a time column is not there.
        DataFaultError: no table has a readable time.
    """
    if contract.shape == "snapshot":
        return Calendar(None, SNAPSHOT_AS_OF, (SNAPSHOT,))
    with engine(tmp) as connection:
        raws = {name: open_table(connection, contract, name, source) for name in contract.tables}
        return calendar_of(connection, contract, raws, before)


def calendar_of(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    raws: dict[str, RawTable],
    before: Calendar | None = None,
) -> Calendar:
    """The calendar of tables that are open already. See :func:`observe_dates`."""
    if contract.shape == "snapshot":
        return Calendar(None, SNAPSHOT_AS_OF, (SNAPSHOT,))
    # A present that was set from older data must not hide what has arrived since, so the wall clock counts too
    limit = max(clock.now(), clock.wall()).replace(tzinfo=None) + timedelta(days=1)
    newest: list[datetime] = []
    first_event: datetime | None = None
    activity = contract.activity or next((name for name in ACTIVITY if name in raws), "accounts")
    for name, raw in raws.items():
        table = contract.tables[name]
        known = table.ingested_at or table.event_time or ""
        for role in dict.fromkeys((known, *table.helpers)):
            ends = _extent(connection, contract, raw, role, limit)
            newest += [ends[1]] if ends else []
        if name == activity and table.event_time:
            ends = _extent(connection, contract, raw, table.event_time, limit)
            first_event = ends[0] if ends else None
    if not newest or first_event is None:
        raise DataFaultError(
            f"Table {activity} has no readable time, so there is no history to learn from.",
            mend="See that event_time names the right column, and give its format where it is not ISO 8601.",
            table=activity,
            rule="required",
            share=1.0,
            column=contract.tables[activity].event_time,
        )
    as_of = max(newest).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    observations = month_starts(first_event + timedelta(days=HISTORY_DAYS), as_of)
    if len(observations) < ENOUGH_DATES or (before is not None and before.waits_briefly):
        observations = month_starts(first_event + timedelta(days=SHORT_HISTORY_DAYS), as_of)
    return Calendar(first_event, as_of, observations)


def month_starts(first: datetime, last: datetime) -> tuple[str, ...]:
    """Month starts ``t`` with ``first <= t <= last``, as ``YYYY-MM-DD``."""
    month = first.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    starts = []
    while month <= last:
        if month >= first:
            starts.append(f"{month:%Y-%m-%d}")
        month = (month + timedelta(days=32)).replace(day=1)
    return tuple(starts)


def _extent(
    connection: duckdb.DuckDBPyConnection, contract: Contract, raw: RawTable, name: str, limit: datetime
) -> tuple[datetime, datetime] | None:
    """First and last time in a column, strays apart; None where it has none."""
    table = contract.tables[raw.name]
    if raw.name == SNAPSHOT_TABLE:
        return None
    found = raw.column(table.source_of(name), role=name)
    where = f"tables.{raw.name}.{name}"
    spec = table.columns.get(name) or Column(type="timestamp")
    parsed = parse(
        "raw",
        raw.columns[found],
        spec,
        alias="moment",
        timezone=table.timezone,
        decimal=table.decimal,
        where=where,
    )
    relation = f"(SELECT {quote(found)} AS raw FROM {raw.relation})"
    months = connection.execute(
        f"SELECT min(moment), max(moment), count(*) FROM ({layered(relation, parsed.steps)}) "
        "WHERE moment <= ? GROUP BY date_trunc('month', moment) ORDER BY 1",
        [limit],
    ).fetchall()
    total = sum(count for _, _, count in months)
    allowed = max(table.tolerance * total, 0)
    first, last = 0, len(months) - 1
    seen = 0
    for index in range(len(months) - 1):
        seen += months[index][2]
        if seen > allowed:
            break
        if (months[index + 1][0] - months[index][1]).days > STRAY_MONTHS * 30:
            first = index + 1
    seen = 0
    for index in range(len(months) - 1, first, -1):
        seen += months[index][2]
        if seen > allowed:
            break
        if (months[index][0] - months[index - 1][1]).days > STRAY_MONTHS * 30:
            last = index - 1
    return (months[first][0], months[last][1]) if months else None
