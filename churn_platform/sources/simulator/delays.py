"""From the moment something happens to the moment it is known: lognormal delays, and outages that end in a
batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.population import REGIONS
from churn_platform.sources.simulator.presets import FEEDS
from churn_platform.sources.simulator.spec import SimulationSpec
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.timeline import DAY, Timeline

OUTAGES_PER_MONTH = 0.35


@dataclass(frozen=True)
class Outage:
    """Rows due in [start, end) arrive together after ``end``; ``region`` -1 is every region."""

    start: int
    end: int
    region: int


class Delays:
    """The delays of one company's feeds."""

    def __init__(self, spec: SimulationSpec, timeline: Timeline) -> None:
        self._outages: dict[str, list[Outage]] = {feed: [] for feed in FEEDS}
        for month in range(timeline.months):
            first, last = timeline.month_starts[month], timeline.month_starts[month + 1]
            for place, feed in enumerate(FEEDS):
                rng = stream(spec.seed, Stream.OUTAGE, month, part=place)
                happens, where, length, region = rng.random(), rng.random(), rng.random(), rng.random()
                if happens < OUTAGES_PER_MONTH:
                    start = timeline.time(0) + int((first + where * (last - first)) * DAY)
                    end = start + int((0.4 + 2.2 * length) * DAY)
                    self._outages[feed].append(
                        Outage(start, end, -1 if region < 0.5 else int((region - 0.5) * 2 * len(REGIONS)))
                    )

    def known(
        self,
        feed: str,
        times: NDArray[np.int64],
        normal: NDArray[np.floating[Any]],
        region: NDArray[np.integer[Any]],
        *,
        median_hours: float,
        sigma: float,
        longest_days: float = 20.0,
    ) -> NDArray[np.int64]:
        """When rows that exist from ``times`` on are known (microseconds since 1970, whole seconds)."""
        delay = np.exp(sigma * normal + np.log(median_hours * 3600.0))
        seconds = np.minimum(delay, longest_days * 86_400.0).astype(np.int64)
        due: NDArray[np.int64] = times + seconds * 1_000_000
        for outage in self._outages.get(feed, ()):
            hit = (due >= outage.start) & (due < outage.end)
            if outage.region >= 0:
                hit &= region == outage.region
            # the backlog is loaded in its order, a hundred times as fast as it came
            waited = (due[hit] - outage.start) // 100_000_000 * 1_000_000
            due[hit] = -(-outage.end // 1_000_000) * 1_000_000 + waited
        return due


def lognormal(normal: NDArray[np.floating[Any]], median_days: float, sigma: float) -> NDArray[np.int64]:
    """A delay in microseconds, whole seconds."""
    seconds = (np.exp(sigma * normal) * median_days * 86_400.0).astype(np.int64)
    return np.asarray(seconds * 1_000_000)
