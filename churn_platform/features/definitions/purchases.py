"""Purchases: recency, frequency, amounts, rhythm and their change. Grain: one customer at t.

Rows of ``orders`` are lines or whole orders; returns and corrections are no purchases (:mod:`..purchase`). Windows
are (t − n days, t], days are UTC days, amounts are in the contract's currency and before returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import Definition, Expression, Family, Rows, days_between, ratio
from churn_platform.features.purchase import PURCHASE, QUANTITY, RETURNED, SPENT, TABLE, has_amounts, numeric

FAMILY = Family("purchases")
WINDOWS = (30, 90, 180, 365, None)
"""Days of a rolling window; None: the whole history."""
DAYS_A_MONTH = 365.25 / 12
# A rate over less time than this says more about the first order than about a customer.
LEAST_DAYS = 30.0


@FAMILY.feature(
    table=TABLE,
    label="days since the last purchase",
    unit="days",
    null="null without a purchase",
)
def days_since_last_purchase(rows: Rows) -> Expression:
    """Days from the newest purchase known at t to t."""
    return rows.days_since(rows[PURCHASE])


@FAMILY.generator
def first_purchase(available: Available) -> Sequence[Definition]:
    """Days since the first purchase: a step only, where being a customer begins with it (tenure_days)."""
    return [
        FAMILY.define(
            days_since_first_purchase,
            table=TABLE,
            label="days since the first purchase",
            unit="days",
            null="null without a purchase",
            hidden=available.activity == TABLE and "accounts" not in available.tables,
        )
    ]


def days_since_first_purchase(rows: Rows) -> Expression:
    """Days from the first purchase known at t to t."""
    return days_between(rows["event_time"].min(where=rows[PURCHASE]), rows["t"].max())


@FAMILY.generator
def rolling_windows(available: Available) -> Sequence[Definition]:
    """Days with a purchase, orders, and amounts, over each window and the whole history."""
    made = []
    for days in WINDOWS:
        made.append(
            FAMILY.define(
                partial(_purchase_days, days),
                name=f"purchase_days_{_short(days)}",
                table=TABLE,
                label=f"days with a purchase {_long(days)}",
                unit="days",
                empty=0.0,
                description=f"Different UTC days with a purchase {_over(days)}.",
            )
        )
        made.append(
            FAMILY.define(
                partial(_orders(available), days, 0),
                name=f"orders_{_short(days)}",
                table=TABLE,
                label=f"orders {_long(days)}",
                unit="orders",
                empty=0.0,
                description=f"Orders {_over(days)}: different order ids, or rows where there are no ids.",
            )
        )
        if has_amounts(available):
            made.append(
                FAMILY.define(
                    partial(_amount, days, 0),
                    name=f"amount_{_short(days)}",
                    table=TABLE,
                    label=f"amount spent {_long(days)}",
                    unit="currency",
                    empty=0.0,
                    decimals=2,
                    null="0 without purchases; null where no amount of them is known",
                    description=f"Sum of the purchases {_over(days)}.",
                )
            )
    return made


@FAMILY.generator
def assortment(available: Available) -> Sequence[Definition]:
    """Items, different products and categories, where they are given."""
    made = []
    for days in (90, 365, None):
        if numeric(available, QUANTITY):
            made.append(
                FAMILY.define(
                    partial(_items, days),
                    name=f"items_{_short(days)}",
                    table=TABLE,
                    label=f"items bought {_long(days)}",
                    unit="items",
                    empty=0.0,
                    null="0 without purchases; null where no quantity of them is known",
                    description=f"Sum of the quantities bought {_over(days)}.",
                )
            )
        for column, word in (("product_id", "products"), ("category", "categories")):
            if available.has(TABLE, column):
                made.append(
                    FAMILY.define(
                        partial(_different, column, days),
                        name=f"{word}_{_short(days)}",
                        table=TABLE,
                        columns=[column],
                        label=f"different {word} bought {_long(days)}",
                        unit=word,
                        empty=0.0,
                        description=f"Different {word} bought {_over(days)}.",
                    )
                )
    return made


@FAMILY.generator
def amounts(available: Available) -> Sequence[Definition]:
    """What an order brings, and what came back."""
    if not has_amounts(available):
        return []
    made = [
        FAMILY.define(
            mean_order_value,
            inputs=["amount_ever", "orders_ever"],
            label="mean value of an order",
            unit="currency",
            decimals=2,
            null="null without an order or without an amount",
        ),
        FAMILY.define(
            last_order_value,
            table=TABLE,
            newest=[SPENT],
            label="value of the last order",
            unit="currency",
            decimals=2,
            null="null without a purchase of known amount",
        ),
        FAMILY.define(
            returned_ever, name="returned_ever", table=TABLE, empty=0.0, hidden=True, label="amount returned so far"
        ),
        FAMILY.define(
            returned_share,
            inputs=["returned_ever", "amount_ever"],
            label="share of the amount spent that was returned",
            unit="share",
            decimals=2,
            null="null without purchases",
        ),
    ]
    if not available.has("subscriptions", "mrr"):
        made += [
            FAMILY.define(returned_90d, table=TABLE, empty=0.0, hidden=True, label="amount returned in 90 days"),
            FAMILY.define(
                mrr,
                inputs=["amount_90d", "returned_90d"],
                label="monthly revenue",
                unit="currency a month",
                decimals=2,
                null="null where no amount is known",
            ),
        ]
    return made


@FAMILY.generator
def rhythm(available: Available) -> Sequence[Definition]:
    """How often, how regularly, and since when longer than usual."""
    history = ["purchase_days_ever", "days_since_first_purchase"]
    return [
        FAMILY.define(
            purchase_days_per_month,
            inputs=history,
            label="purchase days a month",
            unit="purchase days a month",
            decimals=2,
            null="null without a purchase",
        ),
        FAMILY.define(
            mean_purchase_gap_days,
            inputs=[*history, "days_since_last_purchase"],
            label="mean days between purchases",
            unit="days",
            decimals=1,
            null="null with fewer than two days of purchase",
        ),
        FAMILY.define(
            recency_to_mean_gap,
            inputs=["days_since_last_purchase", "mean_purchase_gap_days"],
            label="days since the last purchase, against the mean between purchases",
            unit="ratio",
            decimals=2,
            null="null with fewer than two days of purchase",
        ),
    ]


@FAMILY.generator
def trends(available: Available) -> Sequence[Definition]:
    """The last 90 days against the 90 before: per day since the first purchase."""
    made = []
    flows = [("orders", "orders", _orders(available))]
    if has_amounts(available):
        flows.append(("amount", "amount spent", _amount))
    for name, label, total in flows:
        made.append(
            FAMILY.define(
                partial(total, 90, 90), name=f"{name}_prior_90d", table=TABLE, empty=0.0, hidden=True, label=label
            )
        )
        made.append(
            FAMILY.define(
                partial(_trend, name),
                name=f"{name}_trend_90d_vs_90d",
                inputs=[f"{name}_90d", f"{name}_prior_90d", "days_since_first_purchase"],
                label=f"{label} a day in the last 90 days, against the 90 days before",
                unit="ratio",
                decimals=2,
                null="null without any in the 90 days before, or with less than 120 days since the first purchase",
                description=(
                    f"{name} per day in the 90 days up to t, divided by {name} per day in the 90 days before; of "
                    "the earlier days only those since the first purchase count. 1 is steady, .5 is half."
                ),
            )
        )
    return made


def mean_order_value(row: Any) -> Expression:
    """Amount of all purchases known at t, divided by the number of orders."""
    return ratio(row["amount_ever"], row["orders_ever"])


def last_order_value(rows: Rows) -> Expression:
    """Amount bought on the UTC day of the newest purchase with a known amount."""
    import ibis

    day = rows["event_time"].truncate("D") == rows[f"{SPENT}__newest"].truncate("D")
    known = rows[PURCHASE] & rows[SPENT].notnull() & day
    return (rows.count(known) > 0.0).ifelse(rows.total(SPENT, known), ibis.null("float64"))


def returned_ever(rows: Rows) -> Expression:
    """Sum of all returns known at t."""
    return rows.total(RETURNED, rows[RETURNED].notnull())


def returned_90d(rows: Rows) -> Expression:
    """Sum of the returns in the 90 days up to t."""
    return rows.total(RETURNED, rows[RETURNED].notnull() & rows.within(90))


def returned_share(row: Any) -> Expression:
    """Amount of all returns known at t, divided by that of all purchases."""
    return ratio(row["returned_ever"], row["amount_ever"])


def mrr(row: Any) -> Expression:
    """Purchases less returns of the 90 days up to t, divided by three; not below 0. Who is new is divided by three
    months too: the first order is no monthly revenue."""
    import ibis

    net = ibis.greatest(row["amount_90d"] - row["returned_90d"].fill_null(0.0), ibis.literal(0.0))
    return row["amount_90d"].notnull().ifelse(net / 3.0, ibis.null("float64"))


def purchase_days_per_month(row: Any) -> Expression:
    """Days with a purchase divided by the months since the first one (at least 30 days)."""
    import ibis

    days = ibis.greatest(row["days_since_first_purchase"], ibis.literal(LEAST_DAYS))
    rate = ratio(row["purchase_days_ever"] * DAYS_A_MONTH, days)
    return row["days_since_first_purchase"].notnull().ifelse(rate, ibis.null("float64"))


def mean_purchase_gap_days(row: Any) -> Expression:
    """Days from the first to the last purchase known at t, divided by the days with a purchase less one."""
    span = row["days_since_first_purchase"] - row["days_since_last_purchase"]
    return ratio(span, row["purchase_days_ever"] - 1.0)


def recency_to_mean_gap(row: Any) -> Expression:
    """Days since the last purchase divided by the mean number of days between purchases: above 1 is overdue."""
    return ratio(row["days_since_last_purchase"], row["mean_purchase_gap_days"])


def _trend(name: str, row: Any) -> Expression:
    import ibis

    earlier = row["days_since_first_purchase"] - 90.0
    change = ratio(
        ratio(row[f"{name}_90d"], ibis.literal(90.0)),
        ratio(row[f"{name}_prior_90d"], ibis.least(earlier, ibis.literal(90.0))),
    )
    return (earlier >= LEAST_DAYS).ifelse(change, ibis.null("float64"))


def _bought(rows: Rows, days: int | None, before: int = 0) -> Expression:
    return rows[PURCHASE] if days is None else rows[PURCHASE] & rows.within(days, before=before)


def _purchase_days(days: int | None, rows: Rows) -> Expression:
    return rows.days(_bought(rows, days))


def _orders(available: Available) -> Any:
    return _order_ids if available.has(TABLE, "order_id") else _order_rows


def _order_ids(days: int | None, before: int, rows: Rows) -> Expression:
    return rows["order_id"].nunique(where=_bought(rows, days, before)).cast("float64")


def _order_rows(days: int | None, before: int, rows: Rows) -> Expression:
    return rows.count(_bought(rows, days, before))


def _amount(days: int | None, before: int, rows: Rows) -> Expression:
    return rows.total(SPENT, _bought(rows, days, before))


def _items(days: int | None, rows: Rows) -> Expression:
    return rows.total(QUANTITY, _bought(rows, days))


def _different(column: str, days: int | None, rows: Rows) -> Expression:
    return rows[column].nunique(where=_bought(rows, days)).cast("float64")


def _short(days: int | None) -> str:
    return "ever" if days is None else f"{days}d"


def _long(days: int | None) -> str:
    return "so far" if days is None else f"in the last {days} days"


def _over(days: int | None) -> str:
    return "known at t" if days is None else f"in the {days} days up to t"
