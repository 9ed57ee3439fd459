"""Values of columns: times, categories, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.timeline import Timeline

Columns = dict[str, Any]
"""A table: arrays of one length (or :class:`Category`) by name, ``serial`` for the account."""
MISSING_TIME = np.int64(np.iinfo(np.int64).max)
"""A time that never comes (null in the file); later than every other."""
MISSING_CODE = -1


@dataclass(frozen=True)
class Category:
    """Codes into ``names``; ``MISSING_CODE`` is null."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]

    def __getitem__(self, keep: Any) -> Category:
        return Category(self.codes[keep], self.names)

    def __len__(self) -> int:
        return len(self.codes)


def category(codes: NDArray[np.integer[Any]], names: tuple[str, ...]) -> Category:
    return Category(codes.astype(np.int64), names)


def day_times(timeline: Timeline, day: NDArray[np.int64], part: NDArray[np.float64]) -> NDArray[np.int64]:
    """Microseconds since 1970 of the instant ``part`` (in [0, 1)) of ``day``."""
    return timeline.times(day + part)


def signup_times(history: History, serial: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """When an account was created: on its first day, before 20:00."""
    who = history.accounts
    return day_times(history.timeline, who.start[serial], who.luck[serial, 0] * (20 / 24))
