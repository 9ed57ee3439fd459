"""Daily usage of an account: how many of its seats worked, and what they did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.delays import Delays
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.presets import BIASED_REGION
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.timeline import DAY
from churn_platform.sources.simulator.values import Columns

UTILISATION = 0.1
UTILISATION_HEALTH = 0.9
TRAIT_SD = np.array([0.17, 0.22, 0.17, 0.20, 0.28, 0.40, 0.30], dtype=np.float32)
"""Spread of habits: seats at work, logins, core actions, minutes, reports, API calls, errors."""
DAY_SHAPE = 3.0
"""Gamma shape of an account's good and bad days: given the state, counts are negative binomial."""


def usage_month(history: History, delays: Delays, month: int) -> Columns:
    """All usage of one month, one row per account and day with any activity.

    Returns:
        ``serial``, ``usage_date`` and ``ingested_at`` (microseconds since 1970), and the counts (int32),
        ordered by day and slot.
    """
    timeline, seed = history.timeline, history.spec.seed
    first, last = int(timeline.month_starts[month]), int(timeline.month_starts[month + 1])
    busy = timeline.activity(np.arange(first, last))
    rng = stream(seed, Stream.USAGE, month)
    parts: list[Columns] = []
    for day in range(first, last):
        rows = _active(history, day, float(busy[day - first]), rng)
        rows["usage_date"] = np.full(len(rows["serial"]), timeline.time(day))
        parts.append(rows)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = _counts(history, rows, rng)
    rng = stream(seed, Stream.USAGE_DELAY, month)
    if history.spec.month_presets()[month] == "region_bias":
        rows = _degrade(history, rows, month)
    n = len(rows["serial"])
    normal = rng.standard_normal(n, dtype=np.float32)
    # a few devices send their day late
    late = rng.random(n, dtype=np.float32) < 0.012
    rows["ingested_at"] = delays.known(
        "usage",
        rows["usage_date"] + DAY,
        normal + np.float32(3.2) * late,
        history.accounts.region[rows["serial"]],
        median_hours=2.5,
        sigma=0.8,
    )
    return rows


def _active(history: History, day: int, busy: float, rng: np.random.Generator) -> Columns:
    active = history.on(day)
    week = day // 7
    now, following = history.weeks[week], history.weeks[week + 1]
    who = history.accounts
    health = np.where(active.newcomer, following.health, now.health)
    present = np.where(active.newcomer, following.present, now.present)
    # a change of seats takes effect between two weeks; nobody works on a seat that is gone
    same = now.serial == following.serial
    seats = np.where(same, np.minimum(now.seats, following.seats), now.seats)
    seats = np.where(active.newcomer, following.seats, seats)
    age = day - who.start[active.serial]
    ramp = 1.0 - 0.5 * np.exp(-age / 14.0)
    level = UTILISATION + UTILISATION_HEALTH * health + TRAIT_SD[0] * who.traits[active.serial, 0]
    share = busy * ramp / (1.0 + np.exp(-level))
    count = rng.binomial(np.where(active.there, seats, 0), share)
    where = np.flatnonzero(count)
    return {
        "serial": active.serial[where].astype(np.int32),
        "active_seats": count[where].astype(np.int32),
        "health": health[where],
        "present": present[where],
    }


def _counts(history: History, rows: Columns, rng: np.random.Generator) -> Columns:
    health, seats = rows["health"], rows["active_seats"].astype(np.float32)
    traits = history.accounts.traits[rows["serial"]] * TRAIT_SD
    depth = history.accounts.depth[rows["serial"]].astype(np.float32)
    n = len(seats)
    mood = rng.standard_gamma(DAY_SHAPE, n, dtype=np.float32) / np.float32(DAY_SHAPE)
    worked = seats * mood

    def draw(rate: NDArray[np.float32]) -> NDArray[np.int32]:
        return rng.poisson(np.minimum(rate, 1e6)).astype(np.int32)

    logins = draw(1.5 * seats * np.exp(0.20 * health + traits[:, 1]))
    core = draw(7.0 * worked * np.exp(0.45 * health + traits[:, 2]))
    minutes = draw(24.0 * worked * np.exp(0.35 * health + traits[:, 3]))
    # reports are the champion's work, for the larger part
    reports = draw((0.9 * rows["present"] + 0.05 * seats) * np.exp(0.25 * health + traits[:, 4]))
    api = draw(3.0 * worked * np.exp(0.9 * depth + traits[:, 5]))
    errors = draw(0.02 * core * np.exp(-0.5 * health + traits[:, 6]))
    return {
        "serial": rows["serial"],
        "usage_date": rows["usage_date"],
        "active_seats": rows["active_seats"],
        "logins": logins + 1,
        "core_actions": core,
        "api_calls": api,
        "reports": reports,
        "minutes": minutes + logins + 1,
        "errors": np.minimum(errors, core),
    }


def _degrade(history: History, rows: Columns, month: int) -> Columns:
    """The region's collector loses half of the days, and two fifths of the events of the others."""
    rng = stream(history.spec.seed, Stream.TELEMETRY, month)
    hit = history.accounts.region[rows["serial"]] == BIASED_REGION
    for name in ("logins", "core_actions", "api_calls", "reports", "minutes", "errors"):
        thinned = np.asarray(rng.binomial(rows[name], 0.6), dtype=np.int32)
        rows[name] = np.where(hit, thinned, rows[name])
    rows["errors"] = np.minimum(rows["errors"], rows["core_actions"])
    keep = ~hit | (rng.random(len(hit), dtype=np.float32) < 0.5)
    return {name: values[keep] for name, values in rows.items()}
