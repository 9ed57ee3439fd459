"""A column that breaks its rule beyond the tolerance is unusable in the months in which it did: its values there are
blanked and the month's part says so. The rows pass: what does not read the column is none the worse.

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
    if plan.name == contract.activity:
        fixed |= PURCHASES
    return {column.name: column for column in plan.columns if column.name not in fixed}


def block(
    connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, faults: Sequence[Fault], contract: Contract
) -> Blocked:
    """Blank the columns of ``staged`` that break a rule beyond the tolerance, in the months that do.

    Rows of such a month do not break the column's rules any more; those of other months still do.
    """
    may = blockable(contract, plan)
    found: Blocked = {}
    for name in dict.fromkeys(fault.column for fault in faults if fault.stops and fault.column in may):
        for month, why in _broken_months(connection, plan, staged, may[name]).items():
            found.setdefault(month, {})[name] = why
        _blank(connection, plan, staged, may[name], [month for month, columns in found.items() if name in columns])
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


def _broken_months(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, column: Staged) -> Mapping[str, str]:
    fails = " OR ".join(f"(f{chunk} & {mask}) <> 0" for chunk, mask in _masks(plan, column).items())
    rules = [rule for rule in plan.rules if rule.column == column.name and rule.effect != "note"]
    counted = connection.execute(
        f"SELECT {_month(column)} AS month, count(*) FILTER ({fails}) AS broken, count(*) AS every "
        f"FROM {staged} WHERE known IS NOT NULL GROUP BY month "
        f"HAVING broken > {plan.table.tolerance!r} * every ORDER BY month"
    ).fetchall()
    sentences = ", ".join(dict.fromkeys(rule.sentence for rule in rules))
    return {
        str(month): f"{plan.name}.{column.name} {sentences}, but {broken:,} of {every:,} rows break this"
        for month, broken, every in counted
    }


def _blank(
    connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, column: Staged, months: Sequence[str]
) -> None:
    if not months:
        return
    cleared = ", ".join(f"f{chunk} = f{chunk} & ~{mask}::BIGINT" for chunk, mask in _masks(plan, column).items())
    listed = ", ".join(f"'{month}'" for month in months)
    inside = f"known IS NOT NULL AND {_month(column)} IN ({listed})"
    connection.execute(f"UPDATE {staged} SET {column.alias} = NULL, {cleared} WHERE {inside}")
