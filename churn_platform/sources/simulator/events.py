"""Helpers for events drawn week by week."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.values import Columns

BLOCK = 1 << 24
"""Most events of one kind in one week; event numbers are unique across weeks."""


@dataclass(frozen=True)
class Occurrences:
    """Events of one week: the slot each happens in, and when (fractional days since day 0)."""

    slot: NDArray[np.int64]
    when: NDArray[np.float64]


def occur(history: History, week: int, rate: NDArray[np.floating[Any]], rng: Generator) -> Occurrences:
    """Poisson events with a weekly ``rate`` per slot, of accounts that are customers during the whole day."""
    now = history.weeks[week]
    counts = rng.poisson(rate)
    slot = np.repeat(np.arange(len(counts)), counts)
    offset = rng.random(len(slot)) * 7.0
    day = np.floor(offset)
    # people write in office hours, mostly
    hour = np.clip(rng.normal(13.0, 3.2, len(slot)), 0.0, 23.99)
    start = history.accounts.start[now.serial[slot]] - 7 * week
    keep = (day < now.leave[slot]) & (day > start)
    return Occurrences(slot[keep], 7 * week + day[keep] + hour[keep] / 24.0)


def draws(seed: int, concern: Stream, weeks: NDArray[np.int64], count: int) -> tuple[Columns, NDArray[np.int64]]:
    """Uniform and normal draws (``count`` × n each) for events sorted by week, from a stream per week, and a
    number for each event that no event of another week has.

    Returns:
        ({"uniform", "normal"}, numbers).
    """
    n = len(weeks)
    uniform, normal = np.empty((count, n)), np.empty((count, n))
    number = np.empty(n, dtype=np.int64)
    edges = np.flatnonzero(np.diff(weeks, prepend=weeks[:1] - 1, append=weeks[-1:] + 1))
    for first, last in pairwise(edges):
        rng = stream(seed, concern, int(weeks[first]))
        uniform[:, first:last] = rng.random((count, last - first))
        normal[:, first:last] = rng.standard_normal((count, last - first))
        number[first:last] = event_numbers(int(weeks[first]), last - first)
    return {"uniform": uniform, "normal": normal}, number


def event_numbers(week: int, count: int) -> NDArray[np.int64]:
    """Numbers of the events of a week (which may lie before day 0)."""
    return (week + 512) * BLOCK + np.arange(count, dtype=np.int64)


def table(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
