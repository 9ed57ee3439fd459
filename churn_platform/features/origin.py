"""From which columns of a contract each feature is read: how a finding about a feature leads back to the data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from churn_platform.features.available import Available
from churn_platform.features.definitions import definitions_for
from churn_platform.features.profile import PROFILE_FEATURES
from churn_platform.sources.contract import SNAPSHOT_TABLE

if TYPE_CHECKING:
    from datetime import datetime

    from churn_platform.features.definitions.base import Definition
    from churn_platform.sources.contract import Contract

_AGO = re.compile(r"_\d+d_ago$")


def origins(
    contract: Contract, since: Mapping[str, datetime] | None = None, features: Collection[str] = ()
) -> dict[str, frozenset[str]]:
    """Feature → the columns it is read from, as ``table.column``; its steps are followed to the tables.

    What only counts rows or looks at their times is read from the table's ``event_time``.

    Args:
        since: see :meth:`Available.of`.
        features: names that may be generated features, or of the profile, which reads every number.
    """
    if contract.shape == "snapshot":
        return {name: frozenset((f"{SNAPSHOT_TABLE}.{name}",)) for name in contract.snapshot.passed}
    available = Available.of(contract, since)
    definitions = {one.name: one for one in definitions_for(available, tuple(features))}
    found: dict[str, frozenset[str]] = {}
    for name in definitions:
        _follow(name, definitions, contract, available, found)
    shown = {name: found[name] for name, one in definitions.items() if not one.hidden}
    numbers = (shown[name] for name, one in definitions.items() if name in shown and one.feature.kind == "number")
    profile = frozenset().union(*numbers)
    return shown | {feature.name: profile for feature in PROFILE_FEATURES if feature.name in features}


def _follow(
    name: str,
    definitions: Mapping[str, Definition],
    contract: Contract,
    available: Available,
    found: dict[str, frozenset[str]],
) -> frozenset[str]:
    if name in found:
        return found[name]
    one = definitions.get(name)
    if one is None:
        found[name] = _of_population(name, contract, available)
    elif one.table is not None:
        listed = contract.tables[one.table].columns
        found[name] = _columns(one.table, (c for c in (*one.columns, *one.newest) if c in listed), contract)
    else:
        found[name] = frozenset()  # definitions refer to others before them, never in a circle
        found[name] = frozenset().union(
            *(_follow(step, definitions, contract, available, found) for step in one.inputs if step != name),
            *([_of_population(name, contract, available)] if name in one.inputs else []),
        )
    return found[name]


def _of_population(name: str, contract: Contract, available: Available) -> frozenset[str]:
    """The columns behind one of :func:`~churn_platform.features.population.population_columns`."""
    if name == "t":
        return frozenset()
    column = _AGO.sub("", name)
    if available.has("subscriptions", column):
        return frozenset((f"subscriptions.{column}",))
    table = available.activity or ("subscriptions" if "subscriptions" in available.tables else "accounts")
    return _columns(table, (), contract)


def _columns(table: str, columns: Iterable[str], contract: Contract) -> frozenset[str]:
    event = contract.tables[table].event_time
    return frozenset(f"{table}.{column}" for column in (tuple(columns) or (str(event),)))
