"""Small random tables with everything that makes time hard: late rows, revisions, returns, ties, gaps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from churn_platform.sources.contract import RELATIONAL_TABLES
from tests.features.data import Row, event

START = datetime.fromisoformat("2024-01-01")
DAYS = 270


def random_tables(seed: int, *, customers: int = 10) -> dict[str, list[Row]]:
    """Rows of all tables for a few customers over nine months."""
    rng = np.random.default_rng(seed)
    tables: dict[str, list[Row]] = {name: [] for name in RELATIONAL_TABLES}
    for number in range(customers):
        _customer(rng, f"c{number:02d}", tables)
    return tables


def _customer(rng: np.random.Generator, who: str, tables: dict[str, list[Row]]) -> None:
    def day(low: float, high: float) -> datetime:
        """A moment, often at midnight, so that ties and window edges are met."""
        moment = START + timedelta(days=float(rng.uniform(low, high)))
        return moment.replace(hour=0, minute=0, second=0, microsecond=0) if rng.random() < 0.6 else moment

    def lag() -> float:
        return float(rng.choice([0.0, 1.0, 30.0, 24.0 * 20]))

    def add(table: str, at: datetime, **values: Any) -> Row:
        # contracts are signed, and departures announced, before they hold
        ahead = table in ("subscriptions", "churn_events") and rng.random() < 0.2
        delay = -24.0 * 25 if ahead else lag()
        row = event(who, f"{table[:3]}{who}{len(tables[table])}", at, lag=delay, **values)
        tables[table].append(row)
        return row

    def revise(row: Row, table: str, **values: Any) -> None:
        tables[table].append({**row, **values, "ingested_at": row["ingested_at"] + timedelta(hours=lag() + 1)})

    joined = day(0, 150)
    add("accounts", joined, industry=str(rng.choice(["a", "b"])), region="r", country="x", initial_size="s")
    for name in range(int(rng.integers(1, 3))):
        starts = [joined, *sorted(day(0, DAYS) for _ in range(int(rng.integers(0, 4))))]
        versions = [
            add(
                "subscriptions",
                max(at, joined),
                subscription_id=f"{who}-{name}",
                plan=str(rng.choice(["basic", "pro"])),
                billing_period="monthly",
                seats=int(rng.integers(0, 20)),
                mrr=float(np.round(rng.uniform(0, 900), 2)) if rng.random() < 0.9 else None,
                renews_at=at + timedelta(days=90) if rng.random() < 0.8 else None,
                discount=0.1,
            )
            for at in starts
        ]
        if rng.random() < 0.3:
            ended = day(100, DAYS)
            for version in versions:
                revise(version, "subscriptions", ended_at=ended)
    for offset in sorted(rng.choice(DAYS, size=int(rng.integers(0, 120)), replace=False)):
        add(
            "usage",
            START + timedelta(days=int(offset)),
            active_seats=int(rng.integers(1, 9)) if rng.random() < 0.9 else None,
            logins=int(rng.integers(0, 9)),
            core_actions=int(rng.integers(0, 3)),
            api_calls=int(rng.integers(0, 100)),
            reports=0,
            minutes=float(np.round(rng.uniform(0, 100), 3)),
            errors=int(rng.integers(0, 2)),
        )
    for _ in range(int(rng.integers(0, 8))):
        at = day(0, DAYS)
        invoice = add("invoices", at, amount=float(np.round(rng.uniform(1, 99), 2)), due_at=at + timedelta(days=14))
        if rng.random() < 0.7:
            paid = at + timedelta(days=float(rng.integers(1, 60)))
            revise(invoice, "invoices", paid_at=paid, failed_attempts=int(rng.integers(0, 3)))
    for _ in range(int(rng.integers(0, 8))):
        ticket = add("tickets", day(0, DAYS), severity=int(rng.integers(1, 5)), first_response_hours=2.5)
        if rng.random() < 0.7:
            csat = float(rng.integers(1, 6)) if rng.random() < 0.7 else None
            closed = ticket["event_time"] + timedelta(days=float(rng.integers(0, 40)))
            revise(ticket, "tickets", closed_at=closed, csat=csat)
    for _ in range(int(rng.integers(0, 4))):
        add("surveys", day(0, DAYS), nps=int(rng.integers(0, 11)) if rng.random() < 0.8 else None)
    for _ in range(int(rng.integers(0, 9))):
        opened = bool(rng.random() < 0.5)
        add(
            "marketing",
            day(0, DAYS),
            channel="mail",
            opened=opened,
            clicked=opened and bool(rng.random() < 0.5),
        )
    for _ in range(int(rng.integers(0, 3))):
        at = day(0, DAYS)
        delivered = at + timedelta(days=2) if rng.random() < 0.8 else None
        add(
            "interventions",
            at,
            delivered_at=delivered,
            play="call",
            arm=str(rng.choice(["treated", "control"])),
        )
    if rng.random() < 0.4:
        add("churn_events", day(60, DAYS), kind=str(rng.choice(["voluntary", "involuntary"])), reason=None)
