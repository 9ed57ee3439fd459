"""Who is a customer at t, and under which contract: one row per active customer, as known at t.

A customer is active at t with a subscription that has started and is not known to have ended, unless a churn
event known at t came after the start of it. Who returns with a new subscription is active again, in a new episode:
``since`` is the start of the first subscription after the last departure known at t. Who was merged into another
account is no customer any more; what it still subscribes to, the other does. Without a table of subscriptions, every
account that was created counts until its churn event; without accounts either, everybody seen in the activity table.
Where leaving means inactivity, a customer is who was active in the days before t that the contract says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import exact_sum
from churn_platform.features.merged import ACCOUNT, FOLDED_AT, MERGED
from churn_platform.features.purchase import PURCHASE
from churn_platform.features.purchase import TABLE as ORDERS

# How far back the contract is compared with itself.
CHANGE_DAYS = (90, 180)
SUMMED = ("mrr", "seats")
PRIMARY = ("plan", "billing_period", "discount")


def population(known: Mapping[str, Any], available: Available) -> Any:
    """Ibis table: customer_id, t, since, and (where the columns are there) the columns of the contract.

    ``mrr`` and ``seats`` are sums over the active subscriptions, ``mrr_90d_ago`` … those of the same
    subscriptions then; ``renews_at`` is the next renewal; plan, billing period and discount are the largest
    subscription's.
    """
    left = _left(known)
    if available.activity is not None:
        people = _seen(known, available)
    elif available.has("subscriptions"):
        people = _subscribed(known["subscriptions"], available, left)
        left = None  # it has ended the subscriptions that it ends
    else:
        people = _accounts(known["accounts"])
    if available.has("accounts", MERGED):
        gone = known["accounts"].filter(lambda row: row[MERGED].notnull()).select("customer_id").distinct()
        people = people.anti_join(gone, "customer_id")
    if left is None:
        return people.drop("current_first")
    joined = people.left_join(left, "customer_id").drop("customer_id_right")
    return joined.filter(joined.left_at.isnull() | (joined.left_at < joined.current_first)).drop(
        "left_at", "current_first"
    )


def _left(known: Mapping[str, Any]) -> Any:
    """The last departure of each customer that is known at t; None without a table of departures."""
    if "churn_events" not in known:
        return None
    return known["churn_events"].group_by("customer_id").agg(left_at=lambda row: row.event_time.max())


def population_columns(available: Available) -> frozenset[str]:
    """The columns of :func:`population` that a feature of the customer's row may use."""
    columns = {"t", "since"}
    if available.has("subscriptions"):
        columns |= {"current_since"}
        for column in SUMMED:
            if available.has("subscriptions", column):
                columns |= {column, *(f"{column}_{days}d_ago" for days in CHANGE_DAYS)}
        columns |= {column for column in (*PRIMARY, "renews_at") if available.has("subscriptions", column)}
    return frozenset(columns)


def _accounts(accounts: Any) -> Any:
    return accounts.group_by("customer_id").agg(
        t=accounts.t.max(), since=accounts.event_time.min(), current_first=accounts.event_time.min()
    )


def _seen(known: Mapping[str, Any], available: Available) -> Any:
    """Who has a row in the activity table (of orders: a purchase), since the first one or the account's creation.

    Where inactivity is what leaving means, only those active in the last days count, with the columns of the
    subscriptions that they have.
    """
    import ibis

    rows = known[str(available.activity)]
    if available.activity == ORDERS:
        rows = rows.filter(rows[PURCHASE])
    people = rows.group_by("customer_id").agg(
        t=rows.t.max(), since=rows.event_time.min(), current_first=rows.event_time.min(), last=rows.event_time.max()
    )
    if available.active_within_days is not None:
        people = people.filter(people.last > people.t - ibis.interval(days=available.active_within_days))
    people = people.drop("last")
    if "accounts" in known:
        made = known["accounts"].group_by("customer_id").agg(made=lambda row: row.event_time.min())
        people = people.left_join(made, "customer_id").drop("customer_id_right")
        people = people.mutate(since=ibis.least(people.since, people.made.fill_null(people.since))).drop("made")
    if "subscriptions" in known:
        contracts = _subscribed(known["subscriptions"], available).drop("t", "since", "current_first")
        people = people.left_join(contracts, "customer_id").drop("customer_id_right")
    return people


def _subscribed(rows: Any, available: Available, left: Any = None) -> Any:
    """The customers by their subscriptions. Who comes back after a departure begins anew (``left``: customer_id,
    left_at); where the end of subscriptions is what leaving means, after more than the grace without any."""
    import ibis

    def has(column: str) -> bool:
        return available.has("subscriptions", column)

    folded = ACCOUNT in rows.columns
    identity = "subscription_id" if has("subscription_id") else ACCOUNT if folded else "customer_id"
    rows = rows.mutate(subscription__=rows[identity])

    # One version holds at a time: of two with the same start the one known last. Ties go on by what the
    # versions say, and only then by row_id, which differs from home to home.
    tie = [
        ibis.desc("ingested_at"),
        *(ibis.desc(column) for column in (*SUMMED, *PRIMARY, "renews_at") if has(column)),
        ibis.asc("row_id"),
    ]
    rows = rows.mutate(
        tie__=ibis.row_number().over(group_by=["customer_id", "subscription__", "event_time"], order_by=tie)
    ).filter(lambda row: row.tie__ == 0)
    rows = rows.mutate(
        version__=ibis.row_number().over(group_by=["customer_id", "subscription__"], order_by=[ibis.desc("event_time")])
    )
    now = rows.version__ == 0
    current = [column for column in (*SUMMED, *PRIMARY, "renews_at") if has(column)]
    steps: dict[str, Any] = {
        "t": rows.t.max(),
        "first_at": rows.event_time.min(),
        "version_at": rows.event_time.max(),
        **{column: rows[column].max(where=now) for column in current},
    }
    for column in SUMMED:
        if has(column):
            for days in CHANGE_DAYS:
                then = (rows.event_time <= rows.t - ibis.interval(days=days)) & rows[column].notnull()
                steps[f"{column}_{days}d_ago"] = rows[column].argmax(rows.event_time, where=then)
    if has("ended_at"):
        steps["ended_at"] = rows.ended_at.min()
    if folded:
        steps |= {name: rows[name].max(where=now) for name in (ACCOUNT, FOLDED_AT)}
    subscriptions = rows.group_by(["customer_id", "subscription__"]).agg(**steps)

    active = (
        subscriptions.ended_at.isnull() | (subscriptions.ended_at > subscriptions.t)
        if has("ended_at")
        else ibis.literal(True)
    )
    # a departure ends every subscription begun before it, whether its own end was recorded or not
    subscriptions = _with_episodes(subscriptions.mutate(active__=active), available, left)
    subscriptions = subscriptions.mutate(active__=subscriptions.active__ & subscriptions.episode__)
    size = [ibis.desc("mrr")] if has("mrr") else []
    subscriptions = subscriptions.mutate(
        rank__=ibis.row_number().over(
            group_by=["customer_id", "active__"],
            order_by=[*size, ibis.asc("first_at"), ibis.asc("subscription__")],
        )
    )
    live = subscriptions.active__
    largest = live & (subscriptions.rank__ == 0)
    totals: dict[str, Any] = {
        "t": subscriptions.t.max(),
        "since": subscriptions.first_at.min(where=subscriptions.episode__),
        "current_first": subscriptions.first_at.min(where=live),
        "current_since": subscriptions.version_at.max(where=live),
        "alive__": live.cast("int64").max(),
    }
    for column in SUMMED:
        if has(column):
            for name in (column, *(f"{column}_{days}d_ago" for days in CHANGE_DAYS)):
                totals[name] = exact_sum(subscriptions[name], live)
    for column in PRIMARY:
        if has(column):
            totals[column] = subscriptions[column].max(where=largest)
    if has("renews_at"):
        totals["renews_at"] = subscriptions.renews_at.min(where=live)
    people = subscriptions.group_by("customer_id").agg(**totals)
    return people.filter(people.alive__ == 1).drop("alive__")


def _with_episodes(subscriptions: Any, available: Available, left: Any) -> Any:
    """The subscriptions with ``episode__``: whether each belongs to its customer's last episode."""
    import ibis

    if left is not None and ACCOUNT in subscriptions.columns:
        # what a merged account holds ends with its own departure, and with one of the survivor after the merge
        own = left.select(**{ACCOUNT: left.customer_id, "own_left__": left.left_at})
        joined = subscriptions.left_join(own, ACCOUNT).drop(f"{ACCOUNT}_right")
        joined = joined.left_join(left, "customer_id").drop("customer_id_right")
        begun = joined.own_left__.isnull() | (joined.first_at > joined.own_left__)
        kept = joined[FOLDED_AT].isnull() | joined.left_at.isnull() | (joined.left_at <= joined[FOLDED_AT])
        return joined.mutate(episode__=begun & kept).drop("own_left__", "left_at")
    if left is not None:
        joined = subscriptions.left_join(left, "customer_id").drop("customer_id_right")
        return joined.mutate(episode__=joined.left_at.isnull() | (joined.first_at > joined.left_at)).drop("left_at")
    if available.grace_days is None or "ended_at" not in subscriptions.columns:
        return subscriptions.mutate(episode__=ibis.literal(True))
    order = [ibis.asc("first_at"), ibis.asc("subscription__")]
    until = subscriptions.mutate(until__=subscriptions.ended_at.fill_null(subscriptions.t))
    until = until.mutate(
        until__=until.until__.max().over(ibis.cumulative_window(group_by="customer_id", order_by=order))
    )
    before = until.mutate(before__=until.until__.lag().over(group_by="customer_id", order_by=order))
    begins = before.before__.isnull() | (before.first_at > before.before__ + ibis.interval(days=available.grace_days))
    marked = before.mutate(begins__=begins.ifelse(before.first_at, ibis.null("timestamp(6)")))
    last = marked.mutate(last__=marked.begins__.max().over(group_by="customer_id"))
    return last.mutate(episode__=last.first_at >= last.last__).drop("until__", "before__", "begins__", "last__")
