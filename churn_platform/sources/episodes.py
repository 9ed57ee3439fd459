"""Episodes of a customer: when subscriptions began and ended for good, and which accounts were merged.

A departure by the end of subscriptions is an end without a successor: at that time no other subscription of the
customer runs, and none begins within the grace. Who comes back later begins a new episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.sources.engine import literal, quote

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract
    from churn_platform.sources.tables import TableVersion

MERGED = "merged_into"


def bind(
    duck: Any, contract: Contract, versions: Mapping[str, TableVersion], as_of: datetime, store: ContentStore
) -> None:
    """Make the table ``held`` (what each customer subscribes to, that of merged accounts from the merge on), those of
    :func:`bind_merges`, and, where the label is the end of subscriptions, ``departures`` (customer_id, row_id,
    event_time, first_known, kind), all as known at ``as_of``.

    A table that is not among the versions gives none. With ``departures``, :func:`bind_starts` can follow.

    Raises:
        FeatureError: the label needs the subscriptions and they are not there, or an end has a kind that the contract
            does not name.
    """
    if contract.label.source == "subscription_end" and "subscriptions" not in versions:
        raise FeatureError(
            "There is no version of the table subscriptions to label from.",
            mend="Materialize the source subscriptions first.",
            field="subscriptions",
        )
    bind_merges(duck, contract, versions, as_of, store)
    if "subscriptions" in versions:
        _subscriptions(duck, contract, versions["subscriptions"], as_of, store)
    else:
        duck.execute(
            "CREATE TEMP TABLE held (customer_id VARCHAR, account VARCHAR, subscription VARCHAR, started_at TIMESTAMP, "
            "ended_at TIMESTAMP, end_known TIMESTAMP, kind VARCHAR, row_id VARCHAR, folded_at TIMESTAMP)"
        )
    if contract.label.source == "subscription_end":
        _ends(duck, contract, as_of)


def bind_merges(
    duck: Any, contract: Contract, versions: Mapping[str, TableVersion], as_of: datetime, store: ContentStore
) -> None:
    """Make the tables ``merged`` (customer_id, merged_at) and ``folds`` (customer_id, survivor, folded_at): from that
    time on the rows of a merged account are the survivor's; where that one was merged in turn, the next one's too."""
    if "accounts" in versions and MERGED in contract.tables["accounts"].passed:
        duck.execute(
            f"CREATE TEMP TABLE merges AS SELECT customer_id, arg_max({MERGED}, ingested_at) AS survivor, "
            f"min(ingested_at) AS merged_at FROM {_scan(versions['accounts'], store)} "
            f"WHERE {MERGED} IS NOT NULL AND ingested_at <= {_moment(as_of)} GROUP BY customer_id"
        )
    else:
        duck.execute("CREATE TEMP TABLE merges (customer_id VARCHAR, survivor VARCHAR, merged_at TIMESTAMP)")
    duck.execute("CREATE TEMP VIEW merged AS SELECT customer_id, merged_at FROM merges")
    # UNION, not UNION ALL: accounts that were merged in a circle come to an end
    duck.execute("""
        CREATE TEMP TABLE folds AS
        WITH RECURSIVE chain(customer_id, survivor, folded_at) AS (
            SELECT customer_id, survivor, merged_at FROM merges WHERE survivor <> customer_id
            UNION
            SELECT chain.customer_id, next.survivor, greatest(chain.folded_at, next.merged_at)
            FROM chain JOIN merges AS next ON next.customer_id = chain.survivor
            WHERE next.survivor <> chain.customer_id AND next.survivor <> next.customer_id
        )
        SELECT customer_id, survivor, min(folded_at) AS folded_at FROM chain GROUP BY customer_id, survivor""")


def bind_starts(duck: Any) -> None:
    """Make the table ``starts`` (customer_id, started_at): when each customer has begun to hold a subscription, by
    itself or by a merge; what a departure of the merged account had ended before does not come to the survivor."""
    duck.execute("""
        CREATE TEMP TABLE starts AS
        SELECT customer_id, greatest(started_at, coalesce(folded_at, started_at)) AS started_at
        FROM held WHERE folded_at IS NULL OR NOT EXISTS (
            SELECT 1 FROM departures WHERE departures.customer_id = held.account
                AND departures.event_time >= held.started_at AND departures.event_time <= held.folded_at)""")


def _subscriptions(duck: Any, contract: Contract, version: TableVersion, as_of: datetime, store: ContentStore) -> None:
    columns = contract.tables["subscriptions"].passed
    # without an id all rows are versions of the one subscription that a customer has, as for the features
    identity = "subscription_id" if "subscription_id" in columns else "customer_id"
    ended = "ended_at" if "ended_at" in columns else "NULL::TIMESTAMP"
    kind = "NULL::VARCHAR"
    if contract.label.source == "subscription_end" and contract.label.kind_column in columns:
        kind = f"CAST({quote(contract.label.kind_column)} AS VARCHAR)"
    rows = f"(SELECT * FROM {_scan(version, store)} WHERE ingested_at <= {_moment(as_of)})"
    duck.execute(f"""
        CREATE TEMP TABLE episodes AS
        SELECT customer_id, {identity} AS subscription, min(event_time) AS started_at, min({ended}) AS ended_at,
            min(ingested_at) FILTER ({ended} IS NOT NULL) AS end_known, max({kind}) AS kind, min(row_id) AS row_id
        FROM (
            SELECT *, row_number() OVER (PARTITION BY row_id ORDER BY ingested_at DESC) AS age FROM {rows}
        ) WHERE age = 1 GROUP BY customer_id, {identity}""")
    # when an end was known first is in an earlier revision than the newest
    if "ended_at" in columns:
        duck.execute(f"""
            UPDATE episodes SET end_known = known.first_known FROM (
                SELECT customer_id, {identity} AS subscription, min(ingested_at) AS first_known
                FROM {rows} WHERE ended_at IS NOT NULL GROUP BY 1, 2
            ) AS known WHERE known.customer_id = episodes.customer_id AND known.subscription = episodes.subscription
                AND episodes.ended_at IS NOT NULL""")
    duck.execute("""
        CREATE TEMP TABLE held AS
        SELECT customer_id, customer_id AS account, subscription, started_at, ended_at, end_known, kind, row_id,
            NULL::TIMESTAMP AS folded_at
        FROM episodes
        UNION ALL
        SELECT folds.survivor, customer_id, subscription, started_at, ended_at, end_known, kind, row_id, folds.folded_at
        FROM episodes JOIN folds USING (customer_id) WHERE ended_at IS NULL OR ended_at > folds.folded_at""")


def _ends(duck: Any, contract: Contract, as_of: datetime) -> None:
    label = contract.label
    grace = f"INTERVAL {label.grace_days} DAY"
    named = ", ".join(literal(name) for name in (*label.voluntary, *label.involuntary))
    unnamed = duck.execute(
        f"SELECT DISTINCT kind FROM episodes WHERE ended_at IS NOT NULL AND kind NOT IN ({named}) ORDER BY 1 LIMIT 5"
    ).fetchall()
    if unnamed:
        kinds = ", ".join(row[0] for row in unnamed)
        raise FeatureError(
            f"subscriptions ended in the way {kinds}, which the contract names neither voluntary nor involuntary.",
            mend="Add each to label.voluntary or label.involuntary.",
            field="label",
        )
    involuntary = ", ".join(literal(name) for name in label.involuntary)
    duck.execute(f"""
        CREATE TEMP TABLE departures AS
        SELECT customer_id, row_id, ended_at AS event_time, end_known AS first_known,
            CASE WHEN kind IN ({involuntary}) THEN 'involuntary' ELSE 'voluntary' END AS kind
        FROM held AS left_one
        WHERE ended_at + {grace} <= {_moment(as_of)} AND NOT EXISTS (
            SELECT 1 FROM held AS other
            WHERE other.customer_id = left_one.customer_id AND other.subscription <> left_one.subscription
                AND greatest(other.started_at, coalesce(other.folded_at, other.started_at))
                    <= left_one.ended_at + {grace}
                AND coalesce(other.ended_at > left_one.ended_at, true))""")


def _scan(version: TableVersion, store: ContentStore) -> str:
    return f"read_parquet([{', '.join(literal(str(path)) for path in version.paths(store))}])"


def _moment(moment: datetime) -> str:
    return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S.%f}'"
