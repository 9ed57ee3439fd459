"""The contract calendar: tenure, renewal, plan, seats, price, and their change. Grain: one customer at t."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import Definition, Expression, Family, days_between, flag, ratio

FAMILY = Family("lifecycle")


@FAMILY.feature(inputs=["t", "since"], label="days as a customer", unit="days")
def tenure_days(row: Any) -> Expression:
    """Days from the start of the first subscription known at t (without subscriptions: from the creation of the
    account or the first activity) to t."""
    return days_between(row["since"], row["t"])


@FAMILY.feature(
    inputs=["t", "renews_at"],
    label="days until the contract renews",
    unit="days",
    null="null without a renewal date",
)
def days_to_renewal(row: Any) -> Expression:
    """Days from t to the next renewal known at t; negative where it has passed without a new version."""
    return days_between(row["t"], row["renews_at"])


@FAMILY.feature(inputs=["t", "current_since"], label="days since the contract was last renewed or changed", unit="days")
def days_since_contract_change(row: Any) -> Expression:
    """Days from the start of the subscription version in force at t (signup, renewal or change) to t."""
    return days_between(row["current_since"], row["t"])


@FAMILY.feature(
    inputs=["days_to_renewal"],
    label="renewal due within 30 days",
    unit="yes = 1",
    null="null without a renewal date",
)
def renewal_within_30d(row: Any) -> Expression:
    """1 where the next renewal is due in the 30 days after t, else 0."""
    return flag((row["days_to_renewal"] >= 0.0) & (row["days_to_renewal"] <= 30.0))


@FAMILY.feature(
    inputs=["days_to_renewal"],
    label="renewal due within 60 days",
    unit="yes = 1",
    null="null without a renewal date",
)
def renewal_within_60d(row: Any) -> Expression:
    """1 where the next renewal is due in the 60 days after t, else 0."""
    return flag((row["days_to_renewal"] >= 0.0) & (row["days_to_renewal"] <= 60.0))


@FAMILY.feature(inputs=["billing_period"], kind="category", label="billing period", null="null where not known")
def billing_period(row: Any) -> Expression:
    """How often the largest active subscription is billed, in its version in force at t."""
    return row["billing_period"]


@FAMILY.feature(inputs=["plan"], kind="category", label="plan", null="null where not known")
def plan(row: Any) -> Expression:
    """Plan of the largest active subscription, in its version in force at t."""
    return row["plan"]


@FAMILY.feature(inputs=["seats"], label="seats paid for", unit="seats", null="null where not known")
def seats(row: Any) -> Expression:
    """Seats of all active subscriptions at t."""
    return row["seats"].cast("float64")


@FAMILY.feature(
    inputs=["seats", "seats_90d_ago"],
    label="seats added or removed in the last 90 days",
    unit="seats",
    null="null for those who were no customers 90 days before t",
)
def seats_change_90d(row: Any) -> Expression:
    """Seats at t minus seats of the same subscriptions 90 days before."""
    return (row["seats"] - row["seats_90d_ago"]).cast("float64")


@FAMILY.feature(
    inputs=["seats", "seats_180d_ago"],
    label="seats added or removed in the last 180 days",
    unit="seats",
    null="null for those who were no customers 180 days before t",
)
def seats_change_180d(row: Any) -> Expression:
    """Seats at t minus seats of the same subscriptions 180 days before."""
    return (row["seats"] - row["seats_180d_ago"]).cast("float64")


@FAMILY.generator
def monthly_revenue(available: Available) -> Sequence[Definition]:
    """Of subscriptions, where they say it; else the family of purchases may."""
    if not available.has("subscriptions", "mrr"):
        return []
    return [
        FAMILY.define(
            mrr,
            inputs=["mrr"],
            label="monthly revenue",
            unit="currency a month",
            null="null where not known",
            decimals=2,
        )
    ]


def mrr(row: Any) -> Expression:
    """Monthly recurring revenue of all active subscriptions at t, in the contract's currency."""
    return row["mrr"].cast("float64")


@FAMILY.feature(
    inputs=["mrr", "mrr_90d_ago"],
    label="change of monthly revenue over the last 90 days",
    unit="share of the earlier revenue",
    null="null for those who were no customers 90 days before t, or paid nothing then",
    decimals=3,
)
def mrr_change_90d(row: Any) -> Expression:
    """(revenue at t − that of the same subscriptions 90 days before) / that: .1 is ten percent more."""
    return ratio(row["mrr"] - row["mrr_90d_ago"], row["mrr_90d_ago"])


@FAMILY.feature(
    inputs=["mrr", "mrr_180d_ago"],
    label="change of monthly revenue over the last 180 days",
    unit="share of the earlier revenue",
    null="null for those who were no customers 180 days before t, or paid nothing then",
    decimals=3,
)
def mrr_change_180d(row: Any) -> Expression:
    """(revenue at t − that of the same subscriptions 180 days before) / that: .1 is ten percent more."""
    return ratio(row["mrr"] - row["mrr_180d_ago"], row["mrr_180d_ago"])


@FAMILY.feature(
    inputs=["mrr", "seats"],
    label="monthly price per seat",
    unit="currency a month and seat",
    null="null without seats",
    decimals=2,
)
def price_per_seat(row: Any) -> Expression:
    """Monthly revenue divided by seats, both over all active subscriptions at t."""
    return ratio(row["mrr"], row["seats"])


@FAMILY.feature(
    inputs=["discount"],
    label="discount on the list price",
    unit="share",
    null="null where not known",
    decimals=2,
)
def discount(row: Any) -> Expression:
    """Discount of the largest active subscription, in its version in force at t."""
    return row["discount"].cast("float64")
