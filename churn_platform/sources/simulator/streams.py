"""Random streams, one per concern and period, so that no concern's draws depend on another's or on the length
of the history, and so that periods can be made in any order and on any thread."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.random import Generator


class Stream(IntEnum):
    """The first key of a stream. Values are part of the simulator's format: add, never renumber."""

    IDS = 1
    COHORT = 2
    STATE = 3
    USAGE = 4
    USAGE_DELAY = 5
    OUTAGE = 6
    SUBSCRIPTIONS = 7
    INVOICES = 8
    TICKETS = 9
    SURVEYS = 10
    MARKETING = 11
    INTERVENTIONS = 12
    DEPARTURES = 13
    PROFILE = 14
    ORACLE = 15
    TELEMETRY = 16


PERIOD_OFFSET = 1 << 20
"""Added to weeks and months, which are negative before the history starts, to make them keys."""


def stream(seed: int, concern: Stream, period: int = 0, part: int = 0) -> Generator:
    """The generator of one concern in one period (week or month; may be negative)."""
    key = (int(concern), period + PERIOD_OFFSET, part)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=key)))
