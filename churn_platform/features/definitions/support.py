"""Support load and how it was felt. Grain: one customer at t.

When a ticket closed, and how it was rated, is known later than the ticket.
"""

from __future__ import annotations

from churn_platform.features.definitions.base import Expression, Family, Rows

FAMILY = Family("support")
TABLE = "tickets"
# Severity 1 is the mildest, 4 the gravest.
HIGH_SEVERITY = 3


@FAMILY.feature(table=TABLE, label="support tickets in the last 30 days", unit="tickets", empty=0.0)
def tickets_30d(rows: Rows) -> Expression:
    """Tickets opened in the 30 days up to t."""
    return rows.count(rows.within(30))


@FAMILY.feature(table=TABLE, label="support tickets in the last 90 days", unit="tickets", empty=0.0)
def tickets_90d(rows: Rows) -> Expression:
    """Tickets opened in the 90 days up to t."""
    return rows.count(rows.within(90))


@FAMILY.feature(table=TABLE, columns=["closed_at"], label="open support tickets", unit="tickets", empty=0.0)
def open_tickets(rows: Rows) -> Expression:
    """Tickets opened by t that are not known to be closed at t."""
    return rows.count(rows["closed_at"].isnull() | (rows["closed_at"] > rows["t"]))


@FAMILY.feature(
    table=TABLE,
    columns=["severity"],
    label="grave support tickets in the last 90 days",
    unit="tickets",
    empty=0.0,
)
def high_severity_tickets_90d(rows: Rows) -> Expression:
    """Tickets of severity 3 or 4 opened in the 90 days up to t."""
    return rows.count(rows.within(90) & (rows["severity"] >= HIGH_SEVERITY))


@FAMILY.feature(
    table=TABLE,
    columns=["csat"],
    label="mean satisfaction with support in the last 180 days",
    unit="rating",
    null="null without a rating",
    decimals=1,
)
def csat_mean_180d(rows: Rows) -> Expression:
    """Mean rating known at t of the tickets opened in the 180 days up to t."""
    return rows.mean("csat", rows.within(180))


@FAMILY.feature(
    table=TABLE,
    columns=["csat"],
    newest=["csat"],
    label="last satisfaction with support",
    unit="rating",
    null="null without a rating",
    decimals=1,
)
def last_csat(rows: Rows) -> Expression:
    """Rating of the newest ticket with one known at t (the mean of several opened at that instant)."""
    return rows.newest("csat")


@FAMILY.feature(
    table=TABLE,
    columns=["first_response_hours"],
    label="mean hours to the first answer of support in the last 90 days",
    unit="hours",
    null="null without an answered ticket",
    decimals=1,
)
def first_response_hours_90d(rows: Rows) -> Expression:
    """Mean hours to the first answer, known at t, of the tickets opened in the 90 days up to t."""
    return rows.mean("first_response_hours", rows.within(90))
