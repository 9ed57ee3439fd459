"""What the company does: marketing touches, and interventions to keep a customer."""

from __future__ import annotations

import numpy as np

from churn_platform.sources.simulator.delays import Delays
from churn_platform.sources.simulator.events import draws, event_numbers, occur, table
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.identifiers import make_ids
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.timeline import DAY
from churn_platform.sources.simulator.values import MISSING_TIME, Columns, category, day_times

MARKETING_CHANNELS = ("email", "in_app", "webinar", "event")
PLAYS = ("success_review", "training", "executive_call", "discount_offer")
PLAY_COST = np.array([120.0, 60.0, 240.0, 90.0])
ARMS = ("control", "treated")


def marketing(history: History, delays: Delays) -> Columns:
    """Touches with what became of them within three days, reported then."""
    parts = []
    for week, now in enumerate(history.weeks):
        rng = stream(history.spec.seed, Stream.MARKETING, week)
        events = occur(history, week, np.full(len(now.serial), 0.3), rng)
        n = len(events.slot)
        channel = np.searchsorted([0.62, 0.86, 0.95], rng.random(n))
        opened = rng.random(n) < np.clip(0.34 + 0.09 * now.health[events.slot], 0.05, 0.9)
        parts.append(
            {
                "number": event_numbers(week, n),
                "serial": now.serial[events.slot].astype(np.int64),
                "sent_at": history.timeline.times(events.when),
                "kind": channel,
                "opened": opened,
                "clicked": opened & (rng.random(n) < 0.22),
                "normal": rng.standard_normal(n),
            }
        )
    rows = table(parts)
    rows["touch_id"] = make_ids("MKT", rows.pop("number"), history.spec.seed)
    rows["channel"] = category(rows.pop("kind"), MARKETING_CHANNELS)
    rows["ingested_at"] = delays.known(
        "marketing",
        rows["sent_at"] + 3 * DAY,
        rows.pop("normal"),
        history.accounts.region[rows["serial"]],
        median_hours=2.0,
        sigma=0.7,
    )
    return rows


def interventions(history: History, delays: Delays) -> Columns:
    """Assignments with the propensity that they were drawn with: exactly .5 in the random arm."""
    log, timeline = history.interventions.table(), history.timeline
    keep = log["day"] >= 0
    log = {name: values[keep] for name, values in log.items()}
    draw, number = draws(history.spec.seed, Stream.INTERVENTIONS, log["week"], 3)
    assigned = day_times(timeline, log["day"], (9 + 8 * draw["uniform"][0]) / 24)
    delivered = assigned + ((0.2 + 4.5 * draw["uniform"][1]) * 86_400).astype(np.int64) * 1_000_000
    play = np.searchsorted([0.4, 0.7, 0.85], draw["uniform"][2])
    return {
        "intervention_id": make_ids("PLAY", number, history.spec.seed),
        "serial": log["serial"],
        "assigned_at": assigned,
        "delivered_at": np.where(log["treated"], delivered, MISSING_TIME),
        "play": category(play, PLAYS),
        "arm": category(log["treated"].astype(np.int64), ARMS),
        "propensity": log["propensity"],
        "cost": np.where(log["treated"], PLAY_COST[play], 0.0),
        # a play is filed when it has been delivered, a control when it was drawn
        "ingested_at": delays.known(
            "interventions",
            np.where(log["treated"], delivered, assigned),
            draw["normal"][0],
            history.accounts.region[log["serial"]],
            median_hours=3.0,
            sigma=0.7,
        ),
    }
