"""What customers say: support tickets and NPS surveys."""

from __future__ import annotations

import numpy as np

from churn_platform.sources.simulator.delays import Delays, lognormal
from churn_platform.sources.simulator.events import event_numbers, occur, table
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.identifiers import make_ids
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.values import Columns, category

TICKET_CATEGORIES = ("how_to", "bug", "billing", "integration", "access")


def tickets(history: History, delays: Delays) -> Columns:
    """Unhappy accounts write more often, about graver things, and rate the answers lower; those who mind the
    price write about bills."""
    parts = []
    for week, now in enumerate(history.weeks):
        rng = stream(history.spec.seed, Stream.TICKETS, week)
        rate = 0.05 * (0.6 + 0.25 * np.sqrt(now.seats)) * np.exp(-0.55 * now.health)
        events = occur(history, week, rate, rng)
        slot, n = events.slot, len(events.slot)
        serial, health = now.serial[slot].astype(np.int64), now.health[slot]
        who = history.accounts
        billing = 0.25 * who.sensitivity[serial] + 5.0 * now.price[slot]
        integration = 0.35 * np.exp(0.6 * who.depth[serial])
        shares = np.stack([np.full(n, 1.2), 0.8 * np.exp(-0.3 * health), billing, integration, np.full(n, 0.4)], axis=1)
        edges = np.cumsum(shares, axis=1)
        kind = (rng.random((n, 1)) * edges[:, -1:] >= edges[:, :-1]).sum(axis=1)
        opened = history.timeline.times(events.when)
        response = lognormal(rng.standard_normal(n), 0.12, 0.9)
        closed = opened + response + lognormal(rng.standard_normal(n) - 0.2 * health, 1.1, 1.0)
        rated = rng.random(n) < 0.45
        parts.append(
            {
                "number": event_numbers(week, n),
                "serial": serial,
                "opened_at": opened,
                "severity": np.clip(np.rint(rng.normal(2.0 - 0.35 * health, 0.8)), 1, 4).astype(np.int32),
                "kind": kind,
                "closed_at": closed,
                "csat": np.where(rated, np.clip(np.rint(rng.normal(3.9 + 0.65 * health, 0.8)), 1, 5), np.nan),
                "first_response_hours": np.round(response / 3.6e9, 2),
                "closed_recorded_at": closed + lognormal(rng.standard_normal(n), 0.05, 0.8),
                "normal": rng.standard_normal(n),
            }
        )
    rows = table(parts)
    rows["ticket_id"] = make_ids("TCK", rows.pop("number"), history.spec.seed)
    rows["category"] = category(rows.pop("kind"), TICKET_CATEGORIES)
    rows["ingested_at"] = delays.known(
        "tickets",
        rows["opened_at"],
        rows.pop("normal"),
        history.accounts.region[rows["serial"]],
        median_hours=0.3,
        sigma=1.0,
    )
    return rows


def surveys(history: History, delays: Delays) -> Columns:
    """In a week about 3 % answer; who is content, or angry, answers more often than who does not care."""
    parts = []
    for week, now in enumerate(history.weeks):
        rng = stream(history.spec.seed, Stream.SURVEYS, week)
        rate = 0.022 * (1.0 + 0.45 * np.tanh(0.6 * np.abs(now.health)) + 0.25 * np.tanh(now.health))
        events = occur(history, week, rate, rng)
        n = len(events.slot)
        score = rng.normal(7.4 + 1.7 * now.health[events.slot], 1.2)
        parts.append(
            {
                "number": event_numbers(week, n),
                "serial": now.serial[events.slot].astype(np.int64),
                "answered_at": history.timeline.times(events.when),
                "nps": np.clip(np.rint(score), 0, 10).astype(np.int32),
                "normal": rng.standard_normal(n),
            }
        )
    rows = table(parts)
    rows["survey_id"] = make_ids("NPS", rows.pop("number"), history.spec.seed)
    rows["ingested_at"] = delays.known(
        "surveys",
        rows["answered_at"],
        rows.pop("normal"),
        history.accounts.region[rows["serial"]],
        median_hours=6.0,
        sigma=0.9,
    )
    return rows
