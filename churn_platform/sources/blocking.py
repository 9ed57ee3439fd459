"""A column that breaks its rule beyond the tolerance is unusable in the months in which it did: its values there are
blanked and the month's part says so. The rows pass: what does not read the column is none the worse.

Whether a month is blocked is decided by what was known by its end, and by nothing later: a fault of today changes no
past month, and a month that is blocked stays so however much whole data follows.

Columns that say who a row belongs to, when it happened, who is a customer and who has left are never blocked: without
them nothing can be made, and the table stops as it always did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from churn_platform.sources.contract import SNAPSHOT_TABLE
from churn_platform.sources.faults import Fault
from churn_platform.sources.rules import BITS
from churn_platform.sources.staging import LINKS, Plan, Staged

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.contract import Contract

LEAST = 3
"""Broken rows without which no month is blocked: so few are held back in quarantine."""
SHARE = 0.05
"""Share of a month's rows beyond which the month is blocked whatever all the months together look like."""
Blocked = dict[str, dict[str, str]]
"""Month by whose end the rows were known (the part's ``known_by``) → column → why it is unusable there."""
WHOLE = ("churn_events", "interventions", SNAPSHOT_TABLE)
"""Tables that labels are made from, or that have no months: none of their columns is ever blocked."""
POPULATION = {"subscriptions": frozenset({"subscription_id", "ended_at"})}
PURCHASES = frozenset({"quantity", "unit_price", "amount"})


def blockable(contract: Contract, plan: Plan) -> dict[str, Staged]:
    """The columns of a table that only features read, by name."""
    table = plan.table
    if plan.name in WHOLE:
        return {}
    fixed = {table.entity, table.event_time, table.ingested_at, *table.key, *table.helpers, *LINKS}
    fixed |= {name for span in table.spans for name in span}
    fixed |= {table.via.on if table.via else None, contract.label.flag_column}
    fixed |= POPULATION.get(plan.name, frozenset())
    if plan.name == "subscriptions" and contract.label.source == "subscription_end":
        fixed |= {contract.label.kind_column}
    if plan.name == contract.activity:
        fixed |= PURCHASES
    return {column.name: column for column in plan.columns if column.name not in fixed}


def block(
    connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, faults: Sequence[Fault], contract: Contract
) -> Blocked:
    """Blank the columns of ``staged`` that break a rule, in the months that :func:`broken_months` says.

    Rows of such a month do not break the column's rules any more; those of other months still do.
    """
    may = blockable(contract, plan)
    found: Blocked = {}
    for name in dict.fromkeys(f.column for f in faults if f.rows and f.effect != "note" and f.column in may):
        counts = _counts(connection, plan, staged, may[name])
        months = broken_months(counts, plan.table.tolerance)
        sentences = ", ".join(
            dict.fromkeys(rule.sentence for rule in plan.rules if rule.column == name and rule.effect != "note")
        )
        for month in months:
            broken, every = counts[month]
            why = f"{plan.name}.{name} {sentences}, but {broken:,} of {every:,} rows break this"
            found.setdefault(month, {})[name] = why
        _blank(connection, plan, staged, may[name], months)
    return found


def broken_months(counts: Mapping[str, tuple[int, int]], tolerance: float) -> list[str]:
    """The months in which a column is unusable, each judged by itself and the months before it.

    Args:
        counts: month → (rows that break a rule, all rows), as far as they are known.
        tolerance: share of rows that may break it, over all the months that are not blocked.
    """
    found, broken_before, rows_before = [], 0, 0
    for month in sorted(counts):
        broken, every = counts[month]
        so_far, rows = broken_before + broken, rows_before + every
        alone = broken >= LEAST and broken > max(SHARE, tolerance) * every
        together = broken > 0 and so_far >= LEAST and so_far > tolerance * rows
        if alone or together:
            found.append(month)
        else:
            broken_before, rows_before = so_far, rows
    return found


def _month(column: Staged) -> str:
    """SQL: the month in which a row's value became known, as the key of the part that holds it."""
    known = "known" if column.helper is None else f"coalesce(h{column.helper}, known)"
    return f"(date_trunc('month', {known} - INTERVAL 1 MICROSECOND) + INTERVAL 1 MONTH)::DATE::VARCHAR"


def _masks(plan: Plan, column: Staged) -> dict[int, int]:
    """Number of the mask column → the bits in it of the column's rules that count against the tolerance."""
    masks: dict[int, int] = {}
    for i, rule in enumerate(plan.rules):
        if rule.column == column.name and rule.effect != "note":
            masks[i // BITS] = masks.get(i // BITS, 0) | 1 << (i % BITS)
    return masks


def _counts(
    connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, column: Staged
) -> dict[str, tuple[int, int]]:
    fails = " OR ".join(f"(f{chunk} & {mask}) <> 0" for chunk, mask in _masks(plan, column).items())
    counted = connection.execute(
        f"SELECT {_month(column)} AS month, count(*) FILTER ({fails}), count(*) "
        f"FROM {staged} WHERE known IS NOT NULL GROUP BY month"
    ).fetchall()
    return {str(month): (int(broken), int(every)) for month, broken, every in counted}


def _blank(
    connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, column: Staged, months: Sequence[str]
) -> None:
    if not months:
        return
    cleared = ", ".join(f"f{chunk} = f{chunk} & ~{mask}::BIGINT" for chunk, mask in _masks(plan, column).items())
    listed = ", ".join(f"'{month}'" for month in months)
    inside = f"known IS NOT NULL AND {_month(column)} IN ({listed})"
    connection.execute(f"UPDATE {staged} SET {column.alias} = NULL, {cleared} WHERE {inside}")
