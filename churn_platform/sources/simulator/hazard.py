"""The hazard of leaving: pure functions of the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.presets import RENEWAL_WEEKS, Weights

Array = NDArray[np.floating[Any]]
DRIVERS = ("health", "champion_lost", "price", "renewal", "integration", "payment")


@dataclass(frozen=True)
class State:
    """What the hazard of a week depends on; arrays that broadcast together.

    Args:
        segment: index into SEGMENTS.
        health: fit + mood + onboarding, without the champion.
        champion: what the loss of champions has taken from health (≤ 0), as far as it has not healed.
        price: pressure of recent price rises times sensitivity.
        depth: of the integration.
        treatment: what interventions take from the log-odds now (τ while treated, else 0).
        annual: contract decides at its renewal only.
    """

    segment: NDArray[np.integer[Any]]
    health: Array
    champion: Array
    price: Array
    depth: Array
    treatment: Array
    annual: NDArray[np.bool_]


def weekly_hazard(weights: Weights, state: State) -> Array:
    """Probability of leaving in this week (monthly contract), or at the renewal that falls in it (annual)."""
    logit = (
        np.asarray(weights.base)[state.segment]
        - weights.health * (state.health + state.champion)
        + weights.price * state.price
        + weights.depth * state.depth
        - state.treatment
        + weights.renewal * state.annual
    )
    week = 1.0 / (1.0 + np.exp(-logit))
    return np.where(state.annual, 1.0 - (1.0 - week) ** RENEWAL_WEEKS, week)


def drivers(weights: Weights, state: State) -> NDArray[np.float64]:
    """Log-odds that each voluntary driver adds, in the order of ``DRIVERS`` (n × 5)."""
    return np.stack(
        [
            -weights.health * state.health,
            -weights.health * state.champion,
            weights.price * state.price,
            weights.renewal * state.annual,
            weights.depth * state.depth,
        ],
        axis=1,
    ).astype(np.float64)


def survived_days(hazard: Array, uniform: Array) -> NDArray[np.int64]:
    """Days survived at a constant daily hazard that adds up to ``hazard`` over a week; 7 is all of it."""
    with np.errstate(divide="ignore"):
        days = np.log(uniform) * 7.0 / np.log1p(-np.clip(hazard, 1e-12, 1 - 1e-12))
    return np.asarray(np.minimum(np.floor(days), 7), dtype=np.int64)
