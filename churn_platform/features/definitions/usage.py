"""Use of the product: recency, rolling windows, trends, seats in use, errors. Grain: one customer at t.

Every numeric column of the usage table is a measure: the flows (logins, minutes …) are summed, the level
``active_seats`` is averaged over days with activity. Windows are (t − n days, t].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import Definition, Expression, Family, Rows, ratio

FAMILY = Family("usage")
TABLE = "usage"
# The farthest back that recency counts: the reach of the table.
REACH = 90.0

LABELS = {
    "core_actions": "core actions",
    "api_calls": "API calls",
    "reports": "reports made",
    "minutes": "minutes of use",
}
LEVELS = frozenset({"active_seats"})
# Measures of first rank get all windows and both trends, the others two windows.
FIRST_RANK = ("logins", "core_actions")


def measures(available: Available) -> list[str]:
    """The numeric columns of the usage table that are flows, in the contract's order."""
    columns = available.tables.get(TABLE, {})
    return [name for name, kind in columns.items() if kind in ("number", "integer") and name not in LEVELS]


@FAMILY.feature(table=TABLE, hidden=True, label="days since the last activity", null="null without activity")
def last_activity_days(rows: Rows) -> Expression:
    """Days from the newest row of the last 90 days to t."""
    return rows.days_since(rows.within(90))


@FAMILY.feature(
    inputs=["last_activity_days", "tenure_days"],
    label="days since the last activity",
    unit="days",
    null="without any: the days as a customer, at most 90",
)
def days_since_last_activity(row: Any) -> Expression:
    """Days from the last activity known at t to t, counted up to 90; from the start where there was none."""
    import ibis

    nothing = ibis.least(row["tenure_days"], ibis.literal(REACH))
    return row["last_activity_days"].fill_null(nothing)


@FAMILY.generator
def rolling_windows(available: Available) -> Sequence[Definition]:
    """Days with activity, and the sum of each flow, over 7, 30 and 90 days."""
    made = [
        FAMILY.define(
            partial(_active_days, days),
            name=f"active_days_{days}d",
            table=TABLE,
            label=f"days with activity in the last {days} days",
            unit="days",
            empty=0.0,
            description=f"Different UTC days with a row of usage in the {days} days up to t.",
        )
        for days in (7, 30, 90)
    ]
    for measure in measures(available):
        for days in (7, 30, 90) if measure in _first_rank(available) else (30, 90):
            made.append(
                FAMILY.define(
                    partial(_total, measure, days, 0),
                    name=f"{measure}_{days}d",
                    table=TABLE,
                    columns=[measure],
                    label=f"{_label(measure)} in the last {days} days",
                    unit=_label(measure),
                    empty=0.0,
                    null="0 without activity; null where the days are there and no value is known",
                    description=f"Sum of {measure} over the {days} days up to t.",
                )
            )
    return made


@FAMILY.generator
def trends(available: Available) -> Sequence[Definition]:
    """The last 30 days against the 60 before, the last 7 against the last 30: per day as a customer."""
    made = []
    for measure in _first_rank(available):
        label = _label(measure)
        made.append(
            FAMILY.define(
                partial(_total, measure, 60, 30),
                name=f"{measure}_prior_60d",
                table=TABLE,
                columns=[measure],
                empty=0.0,
                hidden=True,
            )
        )
        made.append(
            FAMILY.define(
                partial(_trend_30d, measure),
                name=f"{measure}_trend_30d_vs_60d",
                inputs=[f"{measure}_30d", f"{measure}_prior_60d", "tenure_days"],
                label=f"{label} a day in the last 30 days, against the 60 days before",
                unit="ratio",
                decimals=2,
                null="null without any in the 60 days before, or with less than 37 days as a customer",
                description=(
                    f"{measure} per day in the 30 days up to t, divided by {measure} per day in the 60 days "
                    "before; of the earlier days only those as a customer count. 1 is steady, .5 is half."
                ),
            )
        )
        made.append(
            FAMILY.define(
                partial(_trend_7d, measure),
                name=f"{measure}_trend_7d_vs_30d",
                inputs=[f"{measure}_7d", f"{measure}_30d", "tenure_days"],
                label=f"{label} a day in the last 7 days, against the last 30 days",
                unit="ratio",
                decimals=2,
                null="null without any in the last 30 days, or with less than 14 days as a customer",
                description=(
                    f"{measure} per day in the 7 days up to t, divided by {measure} per day in the 30 days "
                    "up to t; of the days only those as a customer count. Where rows arrive late, a steady "
                    "customer lies somewhat below 1: the newest days are not all known at t."
                ),
            )
        )
    return made


@FAMILY.generator
def active_seats(available: Available) -> Sequence[Definition]:
    """The mean number of seats in use on days with activity."""
    made = [
        FAMILY.define(
            partial(_level, days, 0),
            name=f"active_seats_{days}d",
            table=TABLE,
            columns=["active_seats"],
            label=f"seats in use on an active day, in the last {days} days",
            unit="seats",
            decimals=1,
            null="null without activity",
            description=f"Mean of active_seats over the days with activity in the {days} days up to t.",
        )
        for days in (7, 30, 90)
    ]
    made.append(
        FAMILY.define(
            partial(_level, 60, 30),
            name="active_seats_prior_60d",
            table=TABLE,
            columns=["active_seats"],
            hidden=True,
        )
    )
    return made


@FAMILY.feature(
    inputs=["active_seats_30d", "seats"],
    label="share of paid seats in use on an active day, in the last 30 days",
    unit="share",
    null="null without activity or without seats",
    decimals=2,
)
def seat_utilisation_30d(row: Any) -> Expression:
    """Mean seats in use on active days of the 30 days up to t, divided by the seats paid for at t."""
    return ratio(row["active_seats_30d"], row["seats"])


@FAMILY.feature(
    inputs=["active_seats_30d", "active_seats_prior_60d"],
    label="seats in use in the last 30 days, against the 60 days before",
    unit="ratio",
    null="null without activity in either",
    decimals=2,
)
def active_seats_trend_30d_vs_60d(row: Any) -> Expression:
    """Mean seats in use on active days of the 30 days up to t, divided by that of the 60 days before."""
    return ratio(row["active_seats_30d"], row["active_seats_prior_60d"])


@FAMILY.feature(
    inputs=["active_seats_30d", "active_seats_prior_60d", "seats", "seats_90d_ago"],
    label="change in the share of paid seats in use",
    unit="share",
    null="null without activity in either, or for those who were no customers 90 days before t",
    decimals=2,
)
def seat_utilisation_change(row: Any) -> Expression:
    """Utilisation of the last 30 days minus that of the 60 days before, each by the seats paid for then."""
    return ratio(row["active_seats_30d"], row["seats"]) - ratio(row["active_seats_prior_60d"], row["seats_90d_ago"])


@FAMILY.feature(
    inputs=["logins_30d", "seats"],
    label="logins per seat in the last 30 days",
    unit="logins per seat",
    null="null without seats",
    decimals=1,
)
def logins_per_seat_30d(row: Any) -> Expression:
    """Logins in the 30 days up to t divided by the seats paid for at t."""
    return ratio(row["logins_30d"], row["seats"])


@FAMILY.feature(
    inputs=["core_actions_30d", "seats"],
    label="core actions per paid seat in the last 30 days",
    unit="actions per seat",
    null="null without seats",
    decimals=1,
)
def core_actions_per_seat_30d(row: Any) -> Expression:
    """Core actions in the 30 days up to t divided by the seats paid for at t."""
    return ratio(row["core_actions_30d"], row["seats"])


@FAMILY.feature(
    inputs=["minutes_30d", "seats"],
    label="minutes of use per paid seat in the last 30 days",
    unit="minutes per seat",
    null="null without seats",
    decimals=1,
)
def minutes_per_seat_30d(row: Any) -> Expression:
    """Minutes of use in the 30 days up to t divided by the seats paid for at t."""
    return ratio(row["minutes_30d"], row["seats"])


@FAMILY.feature(
    table=TABLE,
    columns=["core_actions", "active_seats"],
    label="core actions per seat in use, in the last 30 days",
    unit="actions per seat and day",
    null="null without activity",
    decimals=2,
)
def core_actions_per_active_seat_30d(rows: Rows) -> Expression:
    """Core actions divided by seat-days with activity, both summed over the 30 days up to t."""
    return ratio(rows.total("core_actions", rows.within(30)), rows.total("active_seats", rows.within(30)))


@FAMILY.feature(
    inputs=["errors_30d", "core_actions_30d"],
    label="errors per core action in the last 30 days",
    unit="errors per action",
    null="null without core actions",
    decimals=3,
)
def error_rate_30d(row: Any) -> Expression:
    """Errors divided by core actions, both summed over the 30 days up to t."""
    return ratio(row["errors_30d"], row["core_actions_30d"])


@FAMILY.feature(
    table=TABLE,
    label="share of active days that are weekdays, in the last 90 days",
    unit="share",
    null="null without activity",
    decimals=2,
)
def weekday_share_90d(rows: Rows) -> Expression:
    """Different active days from Monday to Friday divided by all active days, in the 90 days up to t (UTC days)."""
    recent = rows.within(90)
    return ratio(rows.days(recent & (rows["event_time"].day_of_week.index() < 5)), rows.days(recent))


def _first_rank(available: Available) -> list[str]:
    flows = measures(available)
    return [name for name in FIRST_RANK if name in flows] or flows[:1]


def _label(measure: str) -> str:
    return LABELS.get(measure, measure.replace("_", " "))


def _active_days(days: int, rows: Rows) -> Expression:
    return rows.days(rows.within(days))


def _total(measure: str, days: int, before: int, rows: Rows) -> Expression:
    return rows.total(measure, rows.within(days, before=before))


def _level(days: int, before: int, rows: Rows) -> Expression:
    return rows.mean("active_seats", rows.within(days, before=before))


def _per_day(total: Expression, tenure: Expression, days: float) -> Expression:
    import ibis

    return ratio(total, ibis.least(tenure, ibis.literal(days)))


def _trend_30d(measure: str, row: Any) -> Expression:
    import ibis

    earlier = row["tenure_days"] - 30.0
    change = ratio(
        _per_day(row[f"{measure}_30d"], row["tenure_days"], 30.0),
        _per_day(row[f"{measure}_prior_60d"], earlier, 60.0),
    )
    return (earlier >= 7.0).ifelse(change, ibis.null("float64"))


def _trend_7d(measure: str, row: Any) -> Expression:
    import ibis

    change = ratio(
        _per_day(row[f"{measure}_7d"], row["tenure_days"], 7.0),
        _per_day(row[f"{measure}_30d"], row["tenure_days"], 30.0),
    )
    return (row["tenure_days"] >= 14.0).ifelse(change, ibis.null("float64"))
