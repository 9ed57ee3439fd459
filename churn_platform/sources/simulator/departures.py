"""Departures: what the company records of them, and what really drove them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.delays import lognormal
from churn_platform.sources.simulator.events import draws
from churn_platform.sources.simulator.hazard import DRIVERS
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.identifiers import make_ids
from churn_platform.sources.simulator.slots import INVOLUNTARY, VOLUNTARY
from churn_platform.sources.simulator.streams import Stream
from churn_platform.sources.simulator.values import MISSING_CODE, MISSING_TIME, Columns, category, day_times

KINDS = ("voluntary", "involuntary")
REASONS = (
    "low_usage",
    "champion_left",
    "price",
    "not_renewed",
    "switched_to_competitor",
    "payment_failed",
    "business_closed",
)


@dataclass(frozen=True)
class Departures:
    """Per account (by serial): when it left and when that was recorded; ``MISSING_TIME``: it has not."""

    effective: NDArray[np.int64]
    recorded: NDArray[np.int64]
    events: Columns
    truth: Columns


def departures(history: History) -> Departures:
    """Leavers leave between 08:00 and midnight of their day; the company records it about a day later."""
    log, timeline, seed = history.departures.table(), history.timeline, history.spec.seed
    n = len(history.accounts)
    effective, recorded = np.full(n, MISSING_TIME), np.full(n, MISSING_TIME)
    if not log:
        return Departures(effective, recorded, {}, {})
    draw, number = draws(seed, Stream.DEPARTURES, log["week"], 2)
    uniform, normal = draw["uniform"], draw["normal"]
    serial, kind = log["serial"], log["kind"]
    effective[serial] = day_times(timeline, log["day"], (8 + 15.9 * uniform[0]) / 24)
    recorded[serial] = effective[serial] + lognormal(normal[0], 1.0, 0.7) + 1_000_000
    # people give notice some days before, but not before they came; it is filed with the departure
    notice = effective[serial] - np.minimum(
        lognormal(normal[1], 9.0, 0.6), (log["day"] - history.accounts.start[serial]) * 43_200_000_000
    )
    # an exit survey names the driver in two cases of three
    named = uniform[1] < 0.66
    other = np.floor(uniform[1] * 1e4 % 7).astype(np.int64)
    reason = np.where(named | (kind == INVOLUNTARY), log["driver"], np.where(other > 4, MISSING_CODE, other))
    shown = log["day"] >= 0
    return Departures(
        effective,
        recorded,
        events={
            "churn_event_id": make_ids("CE", number[shown], seed),
            "serial": serial[shown],
            "effective_at": effective[serial][shown],
            "cancel_requested_at": np.where(kind == VOLUNTARY, notice, MISSING_TIME)[shown],
            "recorded_at": recorded[serial][shown],
            "kind": category(kind[shown], KINDS),
            "reason": category(reason[shown], REASONS),
            "ingested_at": recorded[serial][shown],
        },
        truth={
            "serial": serial[shown],
            "effective_at": effective[serial][shown],
            "kind": category(kind[shown], KINDS),
            "driver": category(log["driver"][shown], DRIVERS),
        },
    )
