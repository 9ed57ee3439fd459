"""Who the accounts are: attributes drawn once, when an account comes into being."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from churn_platform.sources.simulator.presets import (
    ACTIVE_MIX,
    ANNUAL_SHARE,
    MEAN_AGE_DAYS,
    NEWCOMER_ANNUAL_SHARE,
    NEWCOMER_MIX,
    SHIFTED_MIX,
)

REGIONS = ("north_america", "emea", "apac", "latam")
COUNTRIES = (("US", "CA"), ("GB", "DE", "FR", "NL"), ("AU", "JP", "IN", "SG"), ("BR", "MX", "CL"))
INDUSTRIES = ("software", "retail", "finance", "health", "education", "manufacturing", "media", "logistics")
CHANNELS = ("organic", "paid_search", "partner", "sales", "referral")
PLANS = ("starter", "team", "business", "enterprise")
SIZES = ("1-10", "11-50", "51-250", "251-1000", "1000+")
OWNERS = tuple(f"csm_{number:02d}" for number in range(1, 25))

PLAN_PRICE = np.array([12.0, 21.0, 34.0, 52.0])
"""List price per seat and month."""
USAGE_TRAITS = 7
"""Habits of an account that have nothing to do with its health: one per usage feature."""

_REGION_MIX = (0.42, 0.33, 0.18, 0.07)
_SHIFTED_REGION_MIX = (0.15, 0.20, 0.45, 0.20)
_CHANNEL_MIX = np.array(
    [
        [0.45, 0.33, 0.06, 0.02, 0.14],
        [0.32, 0.24, 0.16, 0.14, 0.14],
        [0.15, 0.10, 0.25, 0.40, 0.10],
        [0.05, 0.03, 0.27, 0.60, 0.05],
    ]
)
_SHIFTED_CHANNEL_MIX = np.tile(np.array([0.10, 0.25, 0.55, 0.05, 0.05]), (4, 1))
_PLAN_MIX = np.array([[0.72, 0.28, 0, 0], [0.15, 0.65, 0.20, 0], [0, 0.15, 0.70, 0.15], [0, 0, 0.25, 0.75]])
_SIZE_MIX = np.array(
    [
        [0.85, 0.14, 0.01, 0, 0],
        [0.1, 0.7, 0.2, 0, 0],
        [0, 0.05, 0.6, 0.34, 0.01],
        [0, 0, 0.02, 0.38, 0.6],
    ]
)
_SEATS = np.array([3.2, 14.0, 70.0, 330.0])
_CARD_SHARE = np.array([0.94, 0.70, 0.15, 0.03])
_CHANNEL_SENSITIVITY = np.array([1.0, 1.45, 0.9, 0.8, 0.85])
_CHANNEL_FIT = np.array([0.0, -0.20, 0.05, 0.05, 0.25])
_INDUSTRY_FIT = np.array([0.20, -0.15, 0.10, 0.05, -0.20, 0.05, -0.10, 0.05])


@dataclass
class Cohort:
    """Accounts as columns. ``start`` is the day of signup; all other columns never change.

    ``fit``, ``sensitivity``, ``depth``, ``tau`` (what a treatment takes from the log-odds), ``traits`` and
    ``card_risk`` are hidden from the company; ``luck`` (n × 5, uniform) decides small things of its profile.
    """

    start: NDArray[np.int64]
    segment: NDArray[np.int64]
    industry: NDArray[np.int64]
    region: NDArray[np.int64]
    country: NDArray[np.int64]
    channel: NDArray[np.int64]
    size: NDArray[np.int64]
    plan: NDArray[np.int64]
    annual: NDArray[np.bool_]
    seats: NDArray[np.int64]
    discount: NDArray[np.float64]
    card: NDArray[np.bool_]
    card_risk: NDArray[np.float64]
    fit: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    depth: NDArray[np.float64]
    tau: NDArray[np.float64]
    traits: NDArray[np.float32]
    luck: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.start)

    def put(self, where: NDArray[np.integer[Any]], other: Cohort) -> None:
        """Overwrite the rows ``where`` with those of ``other``."""
        for field in fields(self):
            getattr(self, field.name)[where] = getattr(other, field.name)

    def copy(self) -> Cohort:
        return Cohort(**{field.name: getattr(self, field.name).copy() for field in fields(self)})


def concatenate(cohorts: list[Cohort]) -> Cohort:
    return Cohort(**{field.name: np.concatenate([getattr(c, field.name) for c in cohorts]) for field in fields(Cohort)})


def draw(
    rng: Generator,
    start: NDArray[np.int64],
    *,
    established: bool,
    shifted: bool = False,
    annual_share: float = 1.0,
) -> Cohort:
    """Draw accounts that sign up on the days ``start``.

    Args:
        established: they are the first accounts, with ages and a mix of a company that has been there for
            long; ``start`` is then the day up to which their ages reach.
        shifted: they come from the mix of the preset ``mix_shift``.
        annual_share: factor on the share of annual contracts.
    """
    n = len(start)
    mix = ACTIVE_MIX if established else SHIFTED_MIX if shifted else NEWCOMER_MIX
    segment = _pick(rng, np.tile(np.asarray(mix), (n, 1)))
    region = _pick(rng, np.tile(np.asarray(_SHIFTED_REGION_MIX if shifted else _REGION_MIX), (n, 1)))
    countries = np.array([len(names) for names in COUNTRIES])[region]
    # the first country of a region is the most frequent
    country = np.floor(rng.random(n) ** 1.6 * countries).astype(np.int64)
    channel = _pick(rng, (_SHIFTED_CHANNEL_MIX if shifted else _CHANNEL_MIX)[segment])
    industry = rng.integers(0, len(INDUSTRIES), n)
    sensitivity = rng.gamma(2.5, 0.4, n) * _CHANNEL_SENSITIVITY[channel]
    fit = rng.normal(0.0, 0.6, n) + _CHANNEL_FIT[channel] + _INDUSTRY_FIT[industry]
    seats = np.maximum(np.rint(_SEATS[segment] * np.exp(rng.normal(0.0, 0.55, n))), 1).astype(np.int64)
    ages = rng.exponential(1.0, n) * np.asarray(MEAN_AGE_DAYS)[segment]
    return Cohort(
        start=start - 1 - np.minimum(ages, 3650).astype(np.int64) if established else start,
        segment=segment,
        industry=industry,
        region=region,
        country=country,
        channel=channel,
        size=_pick(rng, _SIZE_MIX[segment]),
        plan=_pick(rng, _PLAN_MIX[segment]),
        annual=rng.random(n)
        < np.asarray(ANNUAL_SHARE if established else NEWCOMER_ANNUAL_SHARE)[segment] * annual_share,
        seats=seats,
        # who minds the price bargains for it
        discount=np.clip(np.rint((0.11 * sensitivity * rng.uniform(0.5, 1.5, n) - 0.04) * 20) / 20, 0.0, 0.4) + 0.0,
        card=rng.random(n) < _CARD_SHARE[segment],
        card_risk=rng.beta(1.2, 14.0, n),
        fit=fit,
        sensitivity=sensitivity,
        depth=rng.normal(0.0, 1.0, n),
        tau=rng.normal(0.6, 0.35, n),
        traits=rng.standard_normal((n, USAGE_TRAITS), dtype=np.float32),
        luck=rng.random((n, 5)),
    )


def _pick(rng: Generator, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """One index per row, with the probabilities of that row."""
    edges = np.cumsum(shares, axis=1)
    return np.asarray((rng.random((len(shares), 1)) >= edges[:, :-1]).sum(axis=1), dtype=np.int64)
