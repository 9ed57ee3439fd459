"""How far back a feature looks, read from its expression: nobody has to say it, so that nobody can say it wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import BANDS, Definition, Rows
from churn_platform.features.purchase import TABLE as ORDERS
from churn_platform.features.purchase import with_purchases


@lru_cache(maxsize=4096)
def lookback_days(one: Definition, available: Available) -> int | None:
    """Days before t of which the feature reads events; None where it reads all, or where that cannot be told.

    It is told where every aggregate of the expression is taken over rows after ``t`` minus so many days.
    """
    if one.table is None or one.newest:
        return None
    if one.banded is not None:
        return BANDS[one.banded.last][0]
    import ibis
    import ibis.expr.operations as ops

    raw = ibis.table(available.schema(one.table), name=one.table)
    rows = with_purchases(raw, available) if one.table == ORDERS else raw
    farthest = 0
    for aggregate in one.build(Rows(rows)).op().find(ops.Reduction):
        if _is_of_t(aggregate):
            continue
        windows = [days for part in _parts(aggregate.where) if (days := _window(part)) is not None]
        if not windows:
            return None
        farthest = max(farthest, min(windows))
    return farthest or None


def _is_of_t(aggregate: Any) -> bool:
    """The instant itself, which is the same in every row."""
    import ibis.expr.operations as ops

    arguments = [each for each in aggregate.args if isinstance(each, ops.Node)]
    return len(arguments) == 1 and isinstance(arguments[0], ops.Field) and arguments[0].name == "t"


def _parts(condition: Any) -> Iterator[Any]:
    """The conditions that must all hold."""
    import ibis.expr.operations as ops

    if isinstance(condition, ops.And):
        yield from _parts(condition.left)
        yield from _parts(condition.right)
    elif isinstance(condition, ops.Coalesce):  # an unknown condition that counts as not holding
        first, *others = condition.arg
        if all(isinstance(other, ops.Literal) and other.value is False for other in others):
            yield from _parts(first)
    elif condition is not None:
        yield condition


def _window(condition: Any) -> int | None:
    """``event_time > t - n days`` → n."""
    import ibis.expr.operations as ops

    if not isinstance(condition, ops.Greater) or not _is_field(condition.left, "event_time"):
        return None
    bound = condition.right
    if not isinstance(bound, ops.TimestampSub) or not _is_field(bound.left, "t"):
        return None
    interval = bound.right
    if not isinstance(interval, ops.Literal) or interval.dtype.unit.value != "D":
        return None
    return int(interval.value)


def _is_field(node: Any, name: str) -> bool:
    import ibis.expr.operations as ops

    return isinstance(node, ops.Field) and node.name == name
