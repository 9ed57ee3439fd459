"""Money that came late or not at all. Grain: one customer at t.

When an invoice was paid, and how many attempts failed, is known only once that was recorded:
until then it is open.
"""

from __future__ import annotations

from typing import Any

from churn_platform.features.definitions.base import Expression, Family, Rows, exact_sum

FAMILY = Family("billing")
TABLE = "invoices"


@FAMILY.feature(
    table=TABLE,
    columns=["failed_attempts"],
    label="failed payment attempts in the last 90 days",
    unit="attempts",
    empty=0.0,
    null="0 without invoices; null where no payment of them is recorded yet",
)
def failed_payments_90d(rows: Rows) -> Expression:
    """Failed attempts, as known at t, to pay the invoices issued in the 90 days up to t."""
    return rows.total("failed_attempts", rows.within(90))


@FAMILY.feature(
    table=TABLE,
    columns=["failed_attempts"],
    label="days since the last invoice with a failed payment",
    unit="days",
    null="null where none ever failed",
)
def days_since_failed_payment(rows: Rows) -> Expression:
    """Days from the issue of the newest invoice with a failed attempt known at t to t."""
    return rows.days_since(rows["failed_attempts"] > 0)


@FAMILY.feature(
    table=TABLE,
    columns=["due_at", "paid_at"],
    label="invoices paid late in the last 180 days",
    unit="invoices",
    empty=0.0,
)
def late_payments_180d(rows: Rows) -> Expression:
    """Invoices issued in the 180 days up to t that were paid after their due date, by t."""
    return rows.count(rows.within(180) & (rows["paid_at"] > rows["due_at"]) & (rows["paid_at"] <= rows["t"]))


@FAMILY.feature(table=TABLE, columns=["due_at", "paid_at"], label="overdue invoices", unit="invoices", empty=0.0)
def overdue_invoices(rows: Rows) -> Expression:
    """Invoices whose due date is before t and whose payment is not known at t."""
    return rows.count(_overdue(rows))


@FAMILY.feature(
    table=TABLE,
    columns=["due_at", "paid_at", "amount"],
    label="amount overdue",
    unit="currency",
    empty=0.0,
    decimals=2,
)
def overdue_amount(rows: Rows) -> Expression:
    """Sum of the invoices whose due date is before t and whose payment is not known at t."""
    return exact_sum(rows["amount"], _overdue(rows)).fill_null(0.0)


def _overdue(rows: Rows) -> Any:
    return (rows["due_at"] < rows["t"]) & (rows["paid_at"].isnull() | (rows["paid_at"] > rows["t"]))
