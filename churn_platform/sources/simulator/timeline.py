"""Days, weeks and months of a simulated history. Day 0 is the first day; days before it are negative."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

DAY = 86_400_000_000
"""Microseconds in a day."""
BURN_IN_WEEKS = 104
"""Weeks simulated before day 0, so that the history starts in a steady state."""


@dataclass(frozen=True)
class Timeline:
    start: date
    months: int

    @cached_property
    def origin(self) -> int:
        """Day 0 at 00:00 in microseconds since 1970."""
        return int((self.start - date(1970, 1, 1)).days) * DAY

    @cached_property
    def month_starts(self) -> NDArray[np.int64]:
        """Day index of each month start, and of the end (months + 1 values)."""
        first = np.datetime64(self.start, "M")
        days = (first + np.arange(self.months + 1)).astype("datetime64[D]")
        return (days - np.datetime64(self.start, "D")).astype(np.int64)

    @property
    def days(self) -> int:
        return int(self.month_starts[-1])

    @property
    def weeks(self) -> int:
        """Weeks 0 … weeks-1 hold every day up to the day of ``as_of``, and one week more: the newcomers of a
        week are found in the next."""
        return self.days // 7 + 2

    @property
    def as_of(self) -> int:
        """The end: the first instant after the last month, in microseconds since 1970."""
        return self.time(self.days)

    def time(self, day: int) -> int:
        return self.origin + int(day) * DAY

    def times(self, days: NDArray[np.float64]) -> NDArray[np.int64]:
        """Fractional days as microseconds since 1970, rounded down to seconds."""
        seconds = np.floor(days * 86_400.0).astype(np.int64)
        return seconds * 1_000_000 + self.origin

    def date(self, day: int) -> np.datetime64:
        return np.datetime64(self.start, "D") + int(day)

    def key(self, month: int) -> str:
        """The observation key of a month's start, such as ``2024-03-01``."""
        return str(np.datetime64(self.start, "M") + month) + "-01"

    def month_of(self, day: int) -> int:
        """The month that a day lies in; negative before day 0, the last month at and after the end."""
        if day < 0:
            return -1
        return min(int(np.searchsorted(self.month_starts, day, side="right")) - 1, self.months - 1)

    def months_of(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The month of each instant (µs since 1970): -1 before day 0, ``months`` from the end on."""
        edges = self.origin + self.month_starts * DAY
        months: NDArray[np.int64] = np.searchsorted(edges, times, side="right").astype(np.int64) - 1
        return months

    def day_of_month(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        dates = np.datetime64(self.start, "D") + days
        days_before: NDArray[np.int64] = (dates - dates.astype("datetime64[M]")).astype(np.int64)
        return days_before + 1

    def activity(self, days: NDArray[np.int64]) -> NDArray[np.float64]:
        """How busy a day is for an office: 1 on a working day, less on weekends, holidays and in August."""
        dates = np.datetime64(self.start, "D") + days
        month = dates.astype("datetime64[M]").astype(np.int64) % 12 + 1
        day = self.day_of_month(days)
        weekday = (dates.astype(np.int64) + 3) % 7
        level = np.where(weekday >= 5, 0.3, 1.0)
        level = np.where((month == 8), level * 0.9, level)
        holidays = ((month == 12) & (day >= 23)) | ((month == 1) & (day <= 2))
        return np.where(holidays, level * 0.45, level)
