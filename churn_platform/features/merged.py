"""Accounts that were merged into others: from then on their rows are the surviving account's.

At t the merges that are known at t count, and no others. What the two accounts did before is one history from then on,
also where it lies before the merge; for every earlier observation date they stay two.
"""

from __future__ import annotations

from typing import Any

from churn_platform.features.available import Available

MERGED = "merged_into"
OWN = frozenset({"accounts", "churn_events"})
"""Tables that stay each account's own: what the account is, and that it was closed, is not said of the survivor."""
ACCOUNT, FOLDED_AT = "account__", "folded_at__"
"""Columns of folded subscriptions: the account that holds each, and since when it is another's (null: it is not)."""
# Each doubling follows chains of twice the length: 16 merges in a row.
_DOUBLINGS = 4


def merges(available: Available) -> Any:
    """Ibis table of the merges known at t: ``customer_id``, ``survivor``, ``folded_at``; None where the contract knows
    none. Where the survivor was merged in turn, the last one stands there, from the latest merge on."""
    import ibis

    if not available.has("accounts", MERGED):
        return None
    raw = ibis.table(available.schema("accounts"), name="accounts")
    told = raw.filter(raw.event_time <= raw.t, raw.ingested_at <= raw.t, raw[MERGED].notnull())
    pairs = told.group_by("customer_id").agg(
        survivor=told[MERGED].argmax(told.ingested_at), folded_at=told.ingested_at.min()
    )
    for _ in range(_DOUBLINGS):
        further = pairs.select(survivor=pairs.customer_id, further=pairs.survivor, later=pairs.folded_at)
        joined = pairs.left_join(further, "survivor").drop("survivor_right")
        pairs = joined.select(
            customer_id=joined.customer_id,
            survivor=joined.further.fill_null(joined.survivor),
            folded_at=ibis.greatest(joined.folded_at, joined.later.fill_null(joined.folded_at)),
        )
    return pairs


def fold(rows: Any, pairs: Any, *, mark: bool = False) -> Any:
    """The rows of a table, those of merged accounts under their survivor.

    Args:
        rows: what is known of it at t.
        pairs: see :func:`merges`.
        mark: keep :data:`ACCOUNT` and :data:`FOLDED_AT`.
    """
    joined = rows.left_join(pairs, "customer_id").drop("customer_id_right")
    marks = {ACCOUNT: joined.customer_id, FOLDED_AT: joined.folded_at} if mark else {}
    folded = joined.mutate(customer_id=joined.survivor.fill_null(joined.customer_id), **marks)
    return folded.drop("survivor", "folded_at")
