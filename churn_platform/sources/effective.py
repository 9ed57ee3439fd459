"""Values that are true from one time until another: revisions that begin and end with them.

A value with ``effective: [FROM, UNTIL]`` is seen at ``t`` where its row has arrived and ``FROM <= t < UNTIL``. An end
that is filled in later changes nothing before it, so that it does not matter when that was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from churn_platform.sources.rules import Rule

if TYPE_CHECKING:
    from churn_platform.sources.contract import Table
    from churn_platform.sources.staging import Plan, Staged


def span_rules(table: Table, add: Callable[[str, str], str | None]) -> list[Rule]:
    """Stage the times of every span as ``a0…`` (from) and ``z0…`` (until); the rules that they can be read.

    A time that cannot be read takes its row out: a value of which nobody knows when it was true is of no use.

    Args:
        add: stages a column of times under an alias; returns the alias of its "unreadable" flag.
    """
    rules = []
    for position, (begin, end) in enumerate(table.spans):
        for alias, name in ((f"a{position}", begin), (f"z{position}", end)):
            if flag := add(alias, name):
                rules.append(Rule(name, "type", "must be a time", flag))
        backwards = f"coalesce(z{position} < a{position}, false)"
        rules.append(Rule(end, "order", f"must not lie before {begin}", backwards))
    return rules


def span_times(plan: Plan, value: Callable[[str], str]) -> list[str]:
    """SQL of the staged times of all spans; an end is not known before its row."""
    fields = []
    for position in range(len(plan.spans)):
        begin, end = value(f"a{position}"), value(f"z{position}")
        fields.append(f"{begin} AS a{position}")
        # greatest() passes over NULL, which would make an open end the row's arrival
        fields.append(f"CASE WHEN ({end}) IS NULL THEN NULL ELSE greatest({end}, p.known) END AS z{position}")
    return fields


def moments(plan: Plan) -> list[str]:
    """SQL of the times at which values begin or end, never before the row is known (a NULL makes no revision)."""
    found = []
    for position in range(len(plan.spans)):
        found.append(f"CASE WHEN a{position} > known THEN a{position} END")
        found.append(f"z{position}")
    return found


def value_at(column: Staged, moment: str) -> str:
    """SQL of a passed column in the revision that is known at ``moment``."""
    if column.helper is not None:
        return f"CASE WHEN h{column.helper} <= {moment} THEN {column.alias} END AS {column.alias}"
    if column.span is not None:
        begun = f"coalesce(a{column.span} <= {moment}, true)"
        over = f"coalesce(z{column.span} <= {moment}, false)"
        return f"CASE WHEN {begun} AND NOT {over} THEN {column.alias} END AS {column.alias}"
    return column.alias
