"""Observation dates: month keys such as ``2024-03-01`` and the instants (naive UTC) that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from churn_platform.errors import FeatureError
from churn_platform.sources.tables import SNAPSHOT, SNAPSHOT_AS_OF

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])-01")


def instant(observation: str) -> datetime:
    """The instant t of an observation key, as a naive UTC datetime: the first microsecond of the month.

    Raises:
        FeatureError: for a key that is neither ``YYYY-MM-01`` nor ``snapshot``.
    """
    if observation == SNAPSHOT:
        return SNAPSHOT_AS_OF
    if not _MONTH.fullmatch(observation):
        raise FeatureError(
            f"{observation!r} is no observation date.",
            mend="Give the first day of a month, such as 2024-03-01, or 'snapshot'.",
            field="observation",
        )
    return datetime.fromisoformat(observation)


def month_key(moment: datetime) -> str:
    """The newest observation key that is not after ``moment`` (naive UTC)."""
    return f"{moment:%Y-%m}-01"


def next_month(observation: str) -> str:
    """The key of the month after. Raises FeatureError for ``snapshot``, which has none."""
    return _shift(observation, 1)


def previous_month(observation: str) -> str:
    """The key of the month before. Raises FeatureError for ``snapshot``, which has none."""
    return _shift(observation, -1)


def months(first: str, last: str) -> Iterator[str]:
    """All keys from ``first`` to ``last``, both included; nothing where ``first`` is the later one."""
    current = first
    while instant(current) <= instant(last):
        yield current
        current = next_month(current)


def _shift(observation: str, by: int) -> str:
    if observation == SNAPSHOT:
        raise FeatureError("A snapshot has no month before or after it.", field="observation")
    moment = instant(observation)
    index = moment.year * 12 + moment.month - 1 + by
    return f"{index // 12:04d}-{index % 12 + 1:02d}-01"
