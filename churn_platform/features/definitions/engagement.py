"""What the customer says and answers to: surveys, marketing, interventions. Grain: one customer at t."""

from __future__ import annotations

from collections.abc import Sequence

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import Definition, Expression, Family, Rows

FAMILY = Family("engagement")


@FAMILY.feature(
    table="surveys",
    columns=["nps"],
    newest=["nps"],
    label="last recommendation score (NPS)",
    unit="points of 10",
    null="null without an answer",
    decimals=1,
)
def last_nps(rows: Rows) -> Expression:
    """Score of the newest survey answered by t (the mean of several answered at that instant)."""
    return rows.newest("nps")


@FAMILY.feature(
    table="surveys",
    columns=["nps"],
    label="days since the last recommendation score",
    unit="days",
    null="null without an answer",
)
def days_since_nps(rows: Rows) -> Expression:
    """Days from the newest survey answered by t to t."""
    return rows.days_since(rows["nps"].notnull())


@FAMILY.feature(table="marketing", label="marketing messages in the last 90 days", unit="messages", empty=0.0)
def marketing_sent_90d(rows: Rows) -> Expression:
    """Messages sent in the 90 days up to t."""
    return rows.count(rows.within(90))


@FAMILY.feature(
    table="marketing",
    columns=["opened"],
    label="marketing messages opened, of those of the last 90 days",
    unit="messages",
    empty=0.0,
)
def marketing_opened_90d(rows: Rows) -> Expression:
    """Messages sent in the 90 days up to t and known at t to have been opened."""
    return rows.count(rows.within(90) & rows["opened"])


@FAMILY.feature(
    table="marketing",
    columns=["clicked"],
    label="marketing messages clicked, of those of the last 90 days",
    unit="messages",
    empty=0.0,
)
def marketing_clicked_90d(rows: Rows) -> Expression:
    """Messages sent in the 90 days up to t and known at t to have been clicked."""
    return rows.count(rows.within(90) & rows["clicked"])


@FAMILY.generator
def interventions(available: Available) -> Sequence[Definition]:
    """What was done to keep the customer: counted by delivery where it is known, else by assignment."""
    if not available.has("interventions"):
        return []
    delivered = available.has("interventions", "delivered_at")
    armed = available.has("interventions", "arm")

    def interventions_90d(rows: Rows) -> Expression:
        import ibis

        time = rows["delivered_at"] if delivered else rows["event_time"]
        recent = (time > rows["t"] - ibis.interval(days=90)) & (time <= rows["t"])
        return rows.count(recent & (rows["arm"] == "treated") if armed else recent)

    return [
        FAMILY.define(
            interventions_90d,
            table="interventions",
            label="retention measures delivered in the last 90 days",
            unit="measures",
            empty=0.0,
            description="Interventions of the treated arm delivered in the 90 days up to t.",
        )
    ]
