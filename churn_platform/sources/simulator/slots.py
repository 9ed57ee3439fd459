"""The slots, each with one active account at any time: their changing state, and the numbers that move it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.population import Cohort

MOOD_DECAY = 0.97
MOOD_SD = 0.75
CHAMPION_LOSS = 1.3
CHAMPION_RATE = 0.006
PRESSURE_DECAY = 0.955
ONBOARDING = 0.5
ONBOARDING_WEEKS = 6.0
NEVER = np.int64(1 << 40)
TREATED_WEEKS = 6
RANDOM_ARM = 0.05
SEEMS_BAD = 2.6
DUNNING_DAYS = (3, 7, 14)
"""Days after the first failed charge at which it is tried again."""
DUNNING_END = 21
UNRECOVERED = 0.228
"""Share of failed charges that no retry recovers."""
VOLUNTARY, INVOLUNTARY = 0, 1


@dataclass
class Slots:
    """The changing state of the account in each slot (arrays of length N)."""

    serial: NDArray[np.int64]
    who: Cohort
    mood: NDArray[np.float64]
    champion: NDArray[np.float64]
    champion_back: NDArray[np.int64]
    """Week from which a lost champion has been replaced; the champion is there from then on."""
    seats: NDArray[np.int64]
    plan: NDArray[np.int64]
    price: NDArray[np.float64]
    """Per seat and month, before the discount."""
    pressure: NDArray[np.float64]
    """Of price rises of the last months: log of the factor, healing by ``PRESSURE_DECAY`` a week."""
    renewal: NDArray[np.int64]
    """Day of the next renewal (annual), else ``NEVER``."""
    paid_index: NDArray[np.float64]
    """The list price index that the current price was agreed at."""
    anchor: NDArray[np.int64]
    """Day of the month of invoices (monthly contracts)."""
    dunning: NDArray[np.int64]
    """Day on which an unrecovered payment ends the subscription."""
    treated_until: NDArray[np.int64]
    """Week before which a treatment works; it begins to in the week after it was assigned."""


def assigns(week: int) -> bool:
    """Interventions are assigned every fourth week."""
    return week % 4 == 2


def assign(seeming: NDArray[Any], uniform: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Who is considered for an intervention, and with what chance of being treated.

    Args:
        seeming: how badly the account seems to do: minus its health, seen through as much noise again.
        uniform: a draw that puts 5 % into the random arm, whose propensity is exactly one half.
    """
    random_arm = uniform < RANDOM_ARM
    policy = np.round(np.clip(0.55 + 0.1 * (seeming - SEEMS_BAD), 0.55, 0.9), 2)
    return random_arm | (seeming > SEEMS_BAD), np.where(random_arm, 0.5, policy)


def has_anniversary(annual: NDArray[np.bool_], age: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Monthly contracts of a whole number of years, whose price may rise."""
    return ~annual & (age >= 364) & (age % 364 < 7)
