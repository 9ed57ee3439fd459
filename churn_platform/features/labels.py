"""Who left after an observation date: the label of each customer, with what hides it.

For the window (t+g, t+g+h] of horizon h after gap g, as known at ``as_of``:

- ``voluntary``: the first departure in the window is a voluntary one: label 1;
- ``retained``: no departure in the window: label 0;
- ``involuntary``: the first departure in the window is an involuntary one, a competing event: label null
  (censored);
- ``left_before``: the departure took effect by t but was recorded later, or fell into the gap: label null;
- ``merged``: the account was merged into another before the window's end and before any departure: label null;
- ``immature``: t + g + h + delay lies after ``as_of``, so that nobody's label is certain yet: label null.

Where leaving means inactivity, who has no activity (of orders: no purchase) in the window is ``voluntary``, who has
some is ``retained``; activity in the gap changes nothing, and nobody can have left before t.

Beside the label stands ``departed``: who has left for good (or was merged into another) by ``as_of``, as known then.
It is no label and no feature, but says who does not belong on a list of today. ``so_far`` is the kind of the first
departure in the window that is known by ``as_of``, mature or not: an early sign for monitoring, never learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features.available import Available
from churn_platform.features.month import write_table
from churn_platform.features.observation import instant
from churn_platform.features.purchase import TABLE as ORDERS
from churn_platform.features.purchase import purchase_sql
from churn_platform.sources import episodes
from churn_platform.sources.contract import SNAPSHOT_TABLE
from churn_platform.sources.engine import engine, literal, quote
from churn_platform.sources.tables import LABEL_COLUMN, SNAPSHOT

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract
    from churn_platform.sources.tables import TableVersion

GONE = frozenset({"voluntary", "involuntary", "left_before", "merged"})
"""Outcomes that mean: this customer has left."""
OUTCOMES = ("retained", "voluntary", "involuntary", "left_before", "merged", "immature")
MERGED = "merged_into"


def outcome_table(contract: Contract) -> str:
    """The table that tells who has left. Labels are certain up to the end of what was known when it last changed: where
    only the other feeds go on, nobody may be taken to have stayed."""
    source = contract.label.source
    if source == "column":
        return SNAPSHOT_TABLE
    if source == "inactivity":
        return str(contract.label.activity)
    return "subscriptions" if source == "subscription_end" else "churn_events"


def label_tables(contract: Contract) -> tuple[str, ...]:
    """The tables that the labels of this contract are made from, in the contract's order."""
    source = contract.label.source
    if source in ("column", "inactivity"):
        needed = {SNAPSHOT_TABLE if source == "column" else contract.label.activity, "interventions"}
    else:
        needed = {"churn_events", "subscriptions", "interventions"}
        if "accounts" in contract.tables and MERGED in contract.tables["accounts"].passed:
            needed.add("accounts")
    return tuple(name for name in contract.tables if name in needed)


@dataclass(frozen=True)
class LabelMonth:
    """The labels of one observation date.

    Attributes:
        observation: its key.
        digest: of the Parquet file: customer_id, observation_date, outcome, label, mrr, treated, departed,
            so_far.
        rows: customers; those of the feature table.
        positives: customers with label 1.
        censored: customers without a label although the month is mature (involuntary, left_before); 0 before
            that.
        mature: whether the labels are certain.
    """

    observation: str
    digest: str
    rows: int
    positives: int
    censored: int
    mature: bool


def mature(contract: Contract, observation: str, as_of: datetime) -> bool:
    """Whether all departures in the window of an observation date are sure to be recorded by ``as_of``."""
    if observation == SNAPSHOT:
        return True
    return instant(observation) + timedelta(days=contract.label.mature_after_days) <= as_of


def label_months(
    contract: Contract,
    versions_asof: Mapping[str, TableVersion],
    observations: Sequence[str],
    *,
    as_of: datetime,
    populations: Mapping[str, str],
    store: ContentStore,
) -> dict[str, LabelMonth]:
    """Label the customers of each observation date.

    Args:
        contract: says which kinds are voluntary, and the window.
        versions_asof: table → all that is known of it at ``as_of``: those of :func:`label_tables`.
        observations: the keys to label.
        as_of: naive UTC; what was recorded later does not count.
        populations: observation → digest of its feature table: whom to label.
        store: holds the tables and takes the labels.

    Raises:
        FeatureError: a table or population is missing, or a departure has a kind that the contract does not
            name.
    """
    if as_of.tzinfo is not None:
        raise FeatureError("as_of carries a timezone.", mend="Give it as naive UTC.", field="as_of")
    snapshot = contract.shape == "snapshot"
    with engine(store.root / "tmp") as duck:
        if snapshot:
            _bind(duck, "snapshot_rows", _paths(versions_asof, SNAPSHOT_TABLE, store))
            _check_positive(duck, contract)
        elif contract.label.source == "inactivity":
            _bind_activity(duck, contract, versions_asof, as_of, store)
            _bind_treatments(duck, contract, versions_asof, as_of, store)
        else:
            episodes.bind(duck, contract, versions_asof, as_of, store)
            if contract.label.source == "churn_events":
                _bind_events(duck, contract, versions_asof, as_of, store)
            _bind_treatments(duck, contract, versions_asof, as_of, store)
        months = {}
        for observation in observations:
            if observation not in populations:
                raise FeatureError(
                    f"There is no feature table for {observation} to label.",
                    mend="Materialize customer_features for it first.",
                    field="observation",
                )
            _bind(duck, "people", [str(store.path(populations[observation]))])
            ready = mature(contract, observation, as_of)
            if snapshot:
                outcomes = _snapshot_outcomes(contract)
            elif contract.label.source == "inactivity":
                outcomes = _inactive_outcomes(contract, observation, ready)
            else:
                outcomes = _window_outcomes(contract, observation, ready, as_of)
            rows = duck.execute(f"WITH {outcomes} {_final(observation)}").to_arrow_table()
            months[observation] = _month(observation, rows, ready, store)
    return months


def departed(labels: Path) -> list[str]:
    """The pseudonyms of those in a label table who are known to have left."""
    import pyarrow.parquet as pq

    known = pq.read_table(labels, columns=["customer_id", "outcome", "departed"]).to_pylist()
    return [row["customer_id"] for row in known if row["departed"] or row["outcome"] in GONE]


def _month(observation: str, rows: Any, ready: bool, store: ContentStore) -> LabelMonth:
    import pyarrow.compute as pc

    return LabelMonth(
        observation=observation,
        digest=write_table(rows, store),
        rows=rows.num_rows,
        positives=pc.sum(pc.equal(rows["label"], 1)).as_py() or 0,
        censored=rows["label"].null_count if ready else 0,
        mature=ready,
    )


def _window_outcomes(contract: Contract, observation: str, ready: bool, as_of: datetime) -> str:
    t = instant(observation)
    opens, closes = _window(contract, t)
    undecided = "'retained'" if ready else "'immature'"
    decided = "kind" if ready else "'immature'"
    joined = "'merged'" if ready else "'immature'"
    now = _moment(as_of)
    return f"""
        early AS (
            SELECT DISTINCT customer_id FROM departures
            WHERE (event_time <= {_moment(t)} AND first_known > {_moment(t)} AND NOT EXISTS (
                    -- who has come back since then is in a new episode
                    SELECT 1 FROM starts WHERE starts.customer_id = departures.customer_id
                        AND started_at > departures.event_time AND started_at <= {_moment(t)}))
               OR (event_time > {_moment(t)} AND event_time <= {_moment(opens)})
        ), first AS (
            SELECT customer_id, kind, event_time FROM departures
            WHERE event_time > {_moment(opens)} AND event_time <= {_moment(closes)}
            QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY event_time, kind, row_id) = 1
        ), gone AS (
            SELECT DISTINCT customer_id FROM departures
            WHERE event_time <= {now} AND (event_time > {_moment(t)} OR first_known > {_moment(t)}) AND NOT EXISTS (
                SELECT 1 FROM starts WHERE starts.customer_id = departures.customer_id
                    AND started_at > departures.event_time AND started_at <= {now})
            UNION SELECT customer_id FROM merged WHERE merged_at <= {now}
        ), {_measures(contract, t)}, outcomes AS (
            SELECT people.customer_id, people.mrr, measures.customer_id IS NOT NULL AS treated,
                gone.customer_id IS NOT NULL AS departed, first.kind AS so_far,
                CASE WHEN early.customer_id IS NOT NULL THEN 'left_before'
                     WHEN merged.merged_at <= {_moment(closes)}
                         AND (first.kind IS NULL OR merged.merged_at <= first.event_time) THEN {joined}
                     WHEN first.kind IS NOT NULL THEN {decided} ELSE {undecided} END AS outcome
            FROM people LEFT JOIN early USING (customer_id) LEFT JOIN first USING (customer_id)
                LEFT JOIN merged USING (customer_id) LEFT JOIN gone USING (customer_id)
                LEFT JOIN measures USING (customer_id)
        )"""


def _inactive_outcomes(contract: Contract, observation: str, ready: bool) -> str:
    t = instant(observation)
    opens, closes = _window(contract, t)
    decided = "CASE WHEN back.customer_id IS NULL THEN 'voluntary' ELSE 'retained' END" if ready else "'immature'"
    return f"""
        back AS (
            SELECT DISTINCT customer_id FROM activity
            WHERE event_time > {_moment(opens)} AND event_time <= {_moment(closes)}
        ), {_measures(contract, t)}, outcomes AS (
            SELECT people.customer_id, people.mrr, measures.customer_id IS NOT NULL AS treated, {decided} AS outcome,
                false AS departed, NULL::VARCHAR AS so_far
            FROM people LEFT JOIN back USING (customer_id) LEFT JOIN measures USING (customer_id)
        )"""


def _window(contract: Contract, t: datetime) -> tuple[datetime, datetime]:
    opens = t + timedelta(days=contract.label.gap_days)
    return opens, opens + timedelta(days=contract.label.horizon_days)


def _measures(contract: Contract, t: datetime) -> str:
    """The common table expression of who was under treatment."""
    # a measure works on for about as long as the window is: one delivered that long before t is still active
    # at t
    active = t - timedelta(days=contract.label.horizon_days)
    closes = _window(contract, t)[1]
    return f"""measures AS (
            SELECT DISTINCT customer_id FROM treatments
            WHERE delivered > {_moment(active)} AND delivered <= {_moment(closes)}
        )"""


def _snapshot_outcomes(contract: Contract) -> str:
    return f"""
        outcomes AS (
            SELECT people.customer_id, people.mrr, false AS treated, false AS departed, NULL::VARCHAR AS so_far,
                CASE WHEN {_is_positive(contract)} THEN 'voluntary' ELSE 'retained' END AS outcome
            FROM people JOIN snapshot_rows USING (customer_id) WHERE {quote(LABEL_COLUMN)} IS NOT NULL
        )"""


def _is_positive(contract: Contract) -> str:
    return f"lower(trim({quote(LABEL_COLUMN)})) = lower(trim({literal(str(contract.label.positive))}))"


def _check_positive(duck: Any, contract: Contract) -> None:
    query = f"SELECT count(*) FILTER (WHERE {_is_positive(contract)}) FROM snapshot_rows"
    if not duck.execute(query).fetchone()[0]:
        query = f"SELECT DISTINCT {quote(LABEL_COLUMN)} FROM snapshot_rows ORDER BY 1 LIMIT 5"
        found = [str(row[0]) for row in duck.execute(query).fetchall()]
        # Many or long values may be names or ids: an error must not carry them into logs.
        few = len(found) < 5 and all(len(value) <= 40 for value in found)
        seen = ", ".join(repr(value) for value in found) if few else "other values"
        raise FeatureError(
            f"No row of the snapshot has the label {contract.label.positive!r}; it holds {seen}.",
            mend="Set label.positive to the value that means: has left.",
            field="label.positive",
        )


def _final(observation: str) -> str:
    return f"""SELECT customer_id, {literal(observation)} AS observation_date, outcome,
            CAST(CASE outcome WHEN 'voluntary' THEN 1 WHEN 'retained' THEN 0 END AS TINYINT) AS label,
            mrr, treated, departed, so_far
        FROM outcomes ORDER BY customer_id"""


def _bind_events(
    duck: Any, contract: Contract, versions: Mapping[str, TableVersion], as_of: datetime, store: ContentStore
) -> None:
    """Make the table ``departures`` (``first_known``, ``kind``)."""
    label = contract.label
    _bind(duck, "departure_rows", _paths(versions, "churn_events", store))
    kind = f"CAST({quote(label.kind_column)} AS VARCHAR)"
    named = ", ".join(literal(name) for name in (*label.voluntary, *label.involuntary))
    unnamed = duck.execute(
        f"SELECT DISTINCT coalesce({kind}, 'null') FROM departure_rows WHERE ingested_at <= {_moment(as_of)} "
        f"AND ({kind} IS NULL OR {kind} NOT IN ({named})) ORDER BY 1 LIMIT 5"
    ).fetchall()
    if unnamed:
        kinds = ", ".join(row[0] for row in unnamed)
        raise FeatureError(
            f"churn_events holds departures of the kind {kinds}, which the contract names neither voluntary "
            "nor involuntary.",
            mend="Add each kind to label.voluntary or label.involuntary.",
            field="label",
        )
    voluntary = ", ".join(literal(name) for name in label.voluntary)
    duck.execute(f"""
        CREATE TEMP TABLE departures AS
        SELECT customer_id, row_id, event_time, min(ingested_at) OVER (PARTITION BY row_id) AS first_known,
            CASE WHEN {kind} IN ({voluntary}) THEN 'voluntary' ELSE 'involuntary' END AS kind
        FROM departure_rows WHERE ingested_at <= {_moment(as_of)}
        QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY ingested_at DESC) = 1""")


def _bind_activity(
    duck: Any, contract: Contract, versions: Mapping[str, TableVersion], as_of: datetime, store: ContentStore
) -> None:
    """Make the table ``activity``: the rows of the label's table that count, as known at ``as_of``."""
    table = str(contract.label.activity)
    _bind(duck, "activity_rows", _paths(versions, table, store))
    counts = purchase_sql(Available.of(contract)) if table == ORDERS else "true"
    duck.execute(f"""
        CREATE TEMP TABLE activity AS
        SELECT customer_id, event_time FROM (
            SELECT * FROM activity_rows WHERE ingested_at <= {_moment(as_of)}
            QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY ingested_at DESC) = 1
        ) WHERE {counts}""")


def _bind_treatments(
    duck: Any, contract: Contract, versions: Mapping[str, TableVersion], as_of: datetime, store: ContentStore
) -> None:
    """Make the table ``treatments`` (``delivered``)."""
    if "interventions" not in contract.tables:
        duck.execute("CREATE TEMP TABLE treatments (customer_id VARCHAR, delivered TIMESTAMP)")
        return
    _bind(duck, "treatment_rows", _paths(versions, "interventions", store))
    columns = contract.tables["interventions"].passed
    delivered = "delivered_at" if "delivered_at" in columns else "event_time"
    treated = "arm = 'treated'" if "arm" in columns else "true"
    duck.execute(f"""
        CREATE TEMP TABLE treatments AS
        SELECT customer_id, {delivered} AS delivered FROM (
            SELECT * FROM treatment_rows WHERE ingested_at <= {_moment(as_of)}
            QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY ingested_at DESC) = 1
        ) WHERE {treated} AND {delivered} <= {_moment(as_of)}""")


def _paths(versions: Mapping[str, TableVersion], table: str, store: ContentStore) -> list[str]:
    if table not in versions:
        raise FeatureError(
            f"There is no version of the table {table} to label from.",
            mend=f"Materialize the source {table} first.",
            field=table,
        )
    return [str(path) for path in versions[table].paths(store)]


def _bind(duck: Any, name: str, paths: Sequence[str]) -> None:
    files = ", ".join(literal(path) for path in paths)
    duck.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM read_parquet([{files}])")


def _moment(moment: datetime) -> str:
    return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S.%f}'"
