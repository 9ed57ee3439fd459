"""The state oracle: the chance of leaving voluntarily within 30 days, given all that is hidden at a month's
start.

It averages 1 - Π(1 - hazard) over simulated futures of the state; the outcome itself is not drawn. It is the
most that a model could know which saw the state, and the goal that a model's AUC is compared with.
"""

from __future__ import annotations

import numpy as np

from churn_platform.sources.simulator.hazard import Array, State, weekly_hazard
from churn_platform.sources.simulator.history import History, MonthState
from churn_platform.sources.simulator.presets import Weights
from churn_platform.sources.simulator.slots import (
    CHAMPION_LOSS,
    CHAMPION_RATE,
    MOOD_DECAY,
    MOOD_SD,
    ONBOARDING,
    ONBOARDING_WEEKS,
    PRESSURE_DECAY,
    TREATED_WEEKS,
    assign,
    assigns,
    has_anniversary,
)
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.values import Columns

HORIZON_DAYS = 30
FUTURES = 16
RENEWAL_RISE = 1.045
"""Expected own rise at a renewal, above the list price."""
ANNIVERSARY_RISE = 1.06


def month_oracle(history: History, weights: Weights, month: int, *, futures: int = FUTURES) -> Columns:
    """State and chances of every account that is active at the start of ``month``.

    Args:
        weights: at work in that month (futures keep them).
        futures: number of simulated futures.

    Returns:
        ``serial``, ``p_voluntary``, and the state: ``health``, ``champion``, ``price``, ``treatment``,
        ``hazard`` (of the current week; 0 for an annual contract whose renewal is not in it).
    """
    day = int(history.timeline.month_starts[month])
    week, offset = divmod(day, 7)
    now = history.weeks[week]
    newcomer = now.leave < offset
    state = _merge(history.states[week], history.states[week + 1], newcomer)
    who = history.accounts
    there = who.start[state.serial] < day
    keep = np.flatnonzero(there)
    rng = stream(history.spec.seed, Stream.ORACLE, month)
    n = len(newcomer)
    mood: Array = np.broadcast_to(state.mood.astype(np.float32), (futures, n))
    champion: Array = np.broadcast_to(state.champion.astype(np.float32), (futures, n))
    pressure = state.pressure.copy()
    segment, sensitivity = who.segment[state.serial], who.sensitivity[state.serial]
    fit, depth = who.fit[state.serial], who.depth[state.serial].astype(np.float32)
    tau = who.tau[state.serial].astype(np.float32)
    annual, start = who.annual[state.serial], who.start[state.serial]
    renewal_rise = np.log(state.index_ratio * RENEWAL_RISE)
    treated_until = np.broadcast_to(state.treated_until, (futures, n))
    log_stay = np.zeros((futures, n), dtype=np.float32)
    first, last = day, day + HORIZON_DAYS
    while first < last:
        step = first // 7
        end = min(7 * (step + 1), last)
        age = np.maximum(7 * step - start, 0)
        renewing = annual & (state.renewal >= first) & (state.renewal < end)
        exposed = np.where(annual, renewing, (end - first) / 7.0)
        exposed = np.where(newcomer & (step == week), 0.0, exposed)
        onboarding = ONBOARDING * np.exp(-age / 7.0 / ONBOARDING_WEEKS)
        health = mood + (fit - onboarding).astype(np.float32)
        hazard = weekly_hazard(
            weights,
            State(
                segment=segment,
                health=health,
                champion=champion,
                price=((pressure + np.where(renewing, renewal_rise, 0.0)) * sensitivity).astype(np.float32),
                depth=depth,
                treatment=np.where(step < treated_until, tau, np.float32(0)),
                annual=annual,
            ),
        )
        log_stay += np.log1p(-np.minimum(hazard, 1 - 1e-6)) * exposed.astype(np.float32)
        first = end
        if assigns(step):
            noise = rng.standard_normal((futures, n), dtype=np.float32)
            uniform = rng.random((2, futures, n), dtype=np.float32)
            chosen, propensity = assign(noise - health - champion, uniform[0])
            treated = chosen & (uniform[1] < propensity)
            treated_until = np.where(treated, step + 1 + TREATED_WEEKS, treated_until)
        normal = rng.standard_normal((futures, n), dtype=np.float32)
        lost = rng.random((futures, n), dtype=np.float32) < CHAMPION_RATE
        mood = np.float32(MOOD_DECAY) * mood + np.float32(MOOD_SD * (1 - MOOD_DECAY**2) ** 0.5) * normal
        champion = np.float32(MOOD_DECAY) * champion - np.float32(CHAMPION_LOSS) * lost
        rises = has_anniversary(annual, age) & (pressure < 0.15)
        pressure = (pressure + np.where(rises, np.log(ANNIVERSARY_RISE), 0.0)) * PRESSURE_DECAY
    chance = 1.0 - np.exp(log_stay.astype(np.float64)).mean(axis=0)
    return {
        "serial": state.serial[keep],
        "p_voluntary": chance[keep],
        "health": (fit + state.mood + state.champion)[keep],
        "champion": state.champion[keep],
        "price": (state.pressure * sensitivity)[keep],
        "treatment": state.treatment[keep],
        "hazard": np.asarray(state.hazard, dtype=np.float64)[keep],
    }


def _merge(now: MonthState, following: MonthState, newcomer: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> MonthState:
    return MonthState(
        **{
            name: np.where(newcomer, getattr(following, name), getattr(now, name))
            for name in MonthState.__dataclass_fields__
        }
    )
