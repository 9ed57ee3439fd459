"""Contracts and money: versions of subscriptions, and invoices with their retries."""

from __future__ import annotations

import numpy as np

from churn_platform.sources.simulator.delays import Delays, lognormal
from churn_platform.sources.simulator.departures import Departures
from churn_platform.sources.simulator.events import draws
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.identifiers import make_ids
from churn_platform.sources.simulator.population import PLANS
from churn_platform.sources.simulator.slots import DUNNING_DAYS, DUNNING_END, NEVER
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.timeline import DAY
from churn_platform.sources.simulator.values import MISSING_TIME, Columns, category, day_times, signup_times


def subscriptions(history: History, gone: Departures) -> Columns:
    """One row per version of a subscription: what held from ``started_at`` on."""
    log, who, timeline = history.versions.table(), history.accounts, history.timeline
    # of several changes on one day the last holds
    order = np.lexsort((np.arange(len(log["day"])), log["day"], log["serial"]))
    serial, day = log["serial"][order], log["day"][order]
    last = np.append((serial[1:] != serial[:-1]) | (day[1:] != day[:-1]), True)
    rows = order[last & (history.end_day[serial] >= 0)]
    serial, day = log["serial"][rows], log["day"][rows]
    # numbers that do not depend on what comes later: the account and the day
    number = serial * 16_384 + (day - who.start[serial])
    mixed = stream(history.spec.seed, Stream.SUBSCRIPTIONS, part=1).integers(0, 2**62)
    hashed = ((number * 2_654_435_761 + int(mixed) % 1_000_003) % 86_399).astype(np.float64) / 86_400.0
    started = np.where(
        day == who.start[serial],
        signup_times(history, serial) + 60_000_000,
        day_times(timeline, day, hashed / 4),
    )
    known = started + (30 + hashed * 7_200).astype(np.int64) * 1_000_000
    renewal = log["renewal"][rows]
    annual = who.annual[serial]
    ended, recorded = gone.effective[serial], gone.recorded[serial]
    return {
        "subscription_version_id": make_ids("SV", number, history.spec.seed),
        "subscription_id": make_ids("SUB", serial, history.spec.seed),
        "serial": serial,
        "started_at": started,
        "plan": category(log["plan"][rows], PLANS),
        "billing_period": category(annual.astype(np.int64), ("monthly", "annual")),
        "seats": log["seats"][rows].astype(np.int32),
        "mrr": log["mrr"][rows],
        "discount": who.discount[serial],
        "renews_at": np.where(
            renewal < NEVER, timeline.origin + np.where(renewal < NEVER, renewal, 0) * DAY, MISSING_TIME
        ),
        "ended_at": ended,
        "ended_recorded_at": recorded,
        "ingested_at": known,
    }


def invoices(history: History, delays: Delays, gone: Departures) -> Columns:
    """Every invoice since day 0. A failed charge is retried after 3, 7 and 14 days, written off after 21."""
    log, who, timeline = history.invoices.table(), history.accounts, history.timeline
    keep = (log["day"] >= 0) & (log["day"] <= history.end_day[log["serial"]])
    log = {name: values[keep] for name, values in log.items()}
    draw, number = draws(history.spec.seed, Stream.INVOICES, log["week"], 3)
    serial = log["serial"]
    first = log["day"] == who.start[serial]
    issued = np.where(
        first,
        signup_times(history, serial) + 120_000_000,
        day_times(timeline, log["day"], draw["uniform"][0] / 4),
    )
    terms = np.where(log["card"], 0, 14)
    due = timeline.origin + (log["day"] + terms + 1) * DAY - 1_000_000
    waits = np.array([0, *DUNNING_DAYS, DUNNING_END])[log["retry"]] * DAY
    # who is unhappy pays late
    late = lognormal(draw["normal"][0] - 0.25 * log["health"], 9.0, 0.45)
    paid = (
        issued
        + np.where(log["card"] | first, 0, late)
        + waits
        + (draw["uniform"][1] * 3_600).astype(np.int64) * 1_000_000
    )
    posted = paid + lognormal(draw["normal"][1], 0.15, 0.6)
    # whoever has left pays no more
    open_ = paid > gone.effective[serial]
    return {
        "invoice_id": make_ids("INV", number, history.spec.seed),
        "serial": serial,
        "issued_at": issued,
        "amount": log["amount"],
        "due_at": due,
        "paid_at": np.where(log["unpaid"] | open_, MISSING_TIME, paid),
        "failed_attempts": np.minimum(log["retry"], len(DUNNING_DAYS) + 1).astype(np.int32),
        "payment_recorded_at": np.where(open_ & ~log["unpaid"], MISSING_TIME, posted),
        "ingested_at": delays.known(
            "invoices", issued, draw["normal"][2], who.region[serial], median_hours=0.5, sigma=0.8
        ),
    }
