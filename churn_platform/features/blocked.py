"""A column that cannot be trusted takes with it the features that read it, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from churn_platform.features.definitions.base import Definition
from churn_platform.features.engine import parts_read
from churn_platform.features.population import CHANGE_DAYS, PRIMARY, SUMMED

if TYPE_CHECKING:
    from churn_platform.features.available import Available
    from churn_platform.sources.tables import TableVersion

Column = tuple[str, str]
"""(table, column)."""
UNDECLARED = {"orders": ("quantity", "unit_price", "amount"), "interventions": ("delivered_at", "arm")}
"""Columns that decide which rows of a table count, for every feature of it."""


def blocked_columns(available: Available, versions: Iterable[TableVersion]) -> dict[Column, str]:
    """The columns that are unusable in a part that is read at the versions' observation date, and why."""
    found: dict[Column, str] = {}
    for version in versions:
        for part in parts_read(available, version):
            for column, reason in part.blocked:
                found[(version.table, column)] = f"{reason} (rows known by {part.known_by})"
    return found


def blocked_features(definitions: Sequence[Definition], columns: Mapping[Column, str]) -> dict[str, str]:
    """The features, by name, that read such a column, themselves or through others, and why. Hidden steps are not
    listed, what follows from them is."""
    if not columns:
        return {}
    reasons: dict[str, str] = {}
    for one in definitions:
        for column in one.columns:
            if one.table is not None and (one.table, column) in columns:
                reasons[one.name] = columns[(one.table, column)]
    for one in definitions:
        for column in UNDECLARED.get(one.table or "", ()):
            if (str(one.table), column) in columns:
                reasons.setdefault(one.name, columns[(str(one.table), column)])
    for column, name in _contract_columns():
        if ("subscriptions", column) in columns:
            reasons[name] = columns[("subscriptions", column)]
    spreading = True
    while spreading:
        spreading = False
        for one in definitions:
            cause = next((reasons[name] for name in one.inputs if name in reasons and name != one.name), None)
            if cause is not None and one.name not in reasons:
                reasons[one.name] = cause
                spreading = True
    return {one.name: reasons[one.name] for one in definitions if one.name in reasons and not one.hidden}


def blank(table: Any, features: Iterable[str]) -> Any:
    """The Arrow table with these columns null for everybody: a sum over half a month would look like a decline."""
    import pyarrow as pa

    for name in features:
        place = table.schema.get_field_index(name)
        table = table.set_column(
            place, table.schema.field(place), pa.nulls(table.num_rows, table.schema.field(place).type)
        )
    return table


def _contract_columns() -> list[tuple[str, str]]:
    """(column of subscriptions, column of the customer's row that is made of it)."""
    summed = [(name, made) for name in SUMMED for made in (name, *(f"{name}_{days}d_ago" for days in CHANGE_DAYS))]
    return [*summed, *((name, name) for name in (*PRIMARY, "renews_at"))]
