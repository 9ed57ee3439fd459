"""The training set: features and mature labels of all months, joined, in an order that no pseudonym can
influence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_platform.errors import NotEnoughDataError, TrainingError
from churn_platform.evaluation.splits import SNAPSHOT
from churn_platform.features.catalogue import Feature, catalogue_from_json
from churn_platform.settings import settings
from churn_platform.training.encode import Floats

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract

_PREFIX = "x_"  # features beside our own columns, whatever a company calls its own


@dataclass(frozen=True)
class TrainingRows:
    """A training set in memory; all arrays have n entries.

    Attributes:
        columns: feature name → values: float64 with NaN, or text with None.
        observation: observation date keys.
        group: what may not be divided between folds: the customer's number; in a snapshot the number of the set of
            equal rows.
        label: 1 voluntary churn, 0 retained.
        mrr: monthly revenue, NaN where unknown.
        left_out: mature months that are not here for a fault of their data.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    observation: npt.NDArray[np.object_]
    group: npt.NDArray[np.int64]
    label: npt.NDArray[np.int8]
    mrr: Floats
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def customer(self) -> npt.NDArray[np.int64]:
        """Whose each row is (n): in a snapshot each row is a customer of its own, however equal to another."""
        flat = bool(len(self)) and bool((self.observation == SNAPSHOT).all())
        return np.arange(len(self), dtype=np.int64) if flat else self.group


@dataclass(frozen=True)
class TrainingSet:
    """A stored training set.

    Attributes:
        spec: what it is: features, label window, rows by observation, digest of the rows. Free of pseudonyms:
            the same data under other pseudonyms has the same spec, and so the same model.
        spec_digest: of the spec's JSON.
        keys_digest: Parquet with the pseudonym of each row, apart from what a model sees.
        inputs: digests of the features and labels of each observation.
    """

    spec: Mapping[str, Any]
    spec_digest: str
    keys_digest: str
    inputs: Mapping[str, Any]

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The features, in the order of the columns."""
        return catalogue_from_json(self.spec)

    @property
    def observations(self) -> tuple[str, ...]:
        """Observation keys that have rows, in order."""
        return tuple(month["observation"] for month in self.spec["observations"] if month["rows"])

    def to_json(self) -> dict[str, Any]:
        """What :meth:`put` stores; its digest is the training set's data version."""
        return {
            "schema": "training_set/1",
            "spec": self.spec_digest,
            "keys": self.keys_digest,
            "inputs": dict(self.inputs),
        }

    @property
    def reviewed(self) -> tuple[Mapping[str, Any], ...]:
        """What the leak gate found and people let pass: ``column``, ``evidence`` and ``review`` each."""
        return tuple(self.spec.get("reviewed_leaks", ()))

    def with_reviewed(self, leaks: Sequence[Mapping[str, Any]], store: ContentStore) -> TrainingSet:
        """This training set with the findings that were let pass, which all that is made from it can tell."""
        if not leaks:
            return self
        kept = [{name: leak[name] for name in ("column", "kind", "evidence", "review")} for leak in leaks]
        spec = {**self.spec, "reviewed_leaks": kept}
        return replace(self, spec=spec, spec_digest=store.put_json(spec))

    def put(self, store: ContentStore) -> str:
        """Store the description; the digest to keep as the asset's reference."""
        return store.put_json(self.to_json())

    @classmethod
    def read(cls, store: ContentStore, digest: str) -> TrainingSet:
        """The training set that :meth:`put` stored under ``digest``."""
        value = store.read_json(digest)
        return cls(store.read_json(value["spec"]), value["spec"], value["keys"], value["inputs"])

    def load(self, store: ContentStore) -> TrainingRows:
        """Read all rows."""
        import pyarrow.parquet as pq

        table = pq.read_table(store.path(self.spec["rows"]))

        def column(name: str) -> npt.NDArray[Any]:
            return np.asarray(table.column(name).to_numpy(zero_copy_only=False))

        return TrainingRows(
            columns={f.name: column(_PREFIX + f.name) for f in self.features},
            observation=column("observation").astype(object),
            group=column("group").astype(np.int64),
            label=column("label").astype(np.int8),
            mrr=column("mrr"),
            left_out=tuple(self.spec.get("left_out", ())),
        )

    def customers(self, store: ContentStore) -> npt.NDArray[np.object_]:
        """The pseudonym of each row (n), in the rows' order: to join what is known about a customer, never to
        learn."""
        import pyarrow.parquet as pq

        table = pq.read_table(store.path(self.keys_digest))
        return np.asarray(table.column("customer_id").to_numpy(zero_copy_only=False), dtype=object)


def build_training_set(
    feature_digests: Mapping[str, str],
    label_digests: Mapping[str, str],
    features: Sequence[Feature],
    contract: Contract,
    *,
    store: ContentStore,
    include_treated: bool = False,
    chosen_on: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> TrainingSet:
    """Join features and labels by observation and customer, and store the rows and their description.

    Only rows with a label stay: who left involuntarily inside the window is censored, not retained. A
    customer who was treated is marked and left out, because the outcome is no longer what would have happened
    by itself. An
    observation with any immature label is left out as a whole: its known departures would otherwise be
    over-counted.

    Args:
        feature_digests, label_digests: observation key → Parquet digest; observations in both are used.
        include_treated: keep treated customers all the same.
        chosen_on: months that generated features were chosen on: no model may be judged on them.
        left_out: mature months that are not given for a fault of their data: the split goes on as if they were there.

    Raises:
        TrainingError: without a common observation, or where a feature's column is missing.
        NotEnoughDataError: where no row has a label.
    """
    observations = sorted(set(feature_digests) & set(label_digests))
    if not observations:
        raise TrainingError(
            "No observation has both features and labels.",
            mend="Materialize customer_features and churn_labels.",
        )
    table, months = _join(feature_digests, label_digests, observations, features, contract, store, include_treated)
    rows = table.drop_columns(["customer_id"])
    spec = {
        "schema": "training_spec/1",
        "problem": contract.problem,
        "shape": contract.shape,
        "currency": contract.currency,
        "horizon_days": contract.label.horizon_days,
        "gap_days": contract.label.gap_days,
        "treated": "included" if include_treated else "excluded",
        "features": [asdict(feature) for feature in features],
        "chosen_on": list(chosen_on),
        "left_out": sorted(left_out),
        "observations": months,
        "n_rows": rows.num_rows,
        "positives": sum(month["positives"] for month in months),
        "rows": _put_table(rows, store),
    }
    return TrainingSet(
        spec=spec,
        spec_digest=store.put_json(spec),
        keys_digest=_put_table(table.select(["customer_id"]), store),
        inputs={
            "features": {t: feature_digests[t] for t in observations},
            "labels": {t: label_digests[t] for t in observations},
        },
    )


def _put_table(table: Any, store: ContentStore) -> str:
    import pyarrow.parquet as pq

    with store.temporary() as path:
        pq.write_table(table, path, compression="zstd")
        return store.put_file(path, move=True)


def _join(
    feature_digests: Mapping[str, str],
    label_digests: Mapping[str, str],
    observations: Sequence[str],
    features: Sequence[Feature],
    contract: Contract,
    store: ContentStore,
    include_treated: bool,
) -> tuple[Any, list[dict[str, Any]]]:
    import duckdb

    with duckdb.connect() as db, store.temporary() as spill:
        db.execute(f"SET threads = {settings().threads}")
        db.execute(f"SET memory_limit = '{settings().memory_limit}'")
        db.execute(f"SET temp_directory = '{str(spill).replace(chr(39), chr(39) * 2)}'")
        labels = " UNION ALL ".join(
            f"SELECT '{t}' AS observation, customer_id, outcome, label, mrr, treated "
            f"FROM {_scan(store, label_digests[t])}"
            for t in observations
        )
        db.execute(f"CREATE TEMP TABLE labels AS {labels}")
        months = _count(db, observations)
        usable = [month["observation"] for month in months if month["mature"]]
        if not sum(month["rows"] for month in months):
            raise NotEnoughDataError(
                f"None of the {len(observations)} observations has a mature label.",
                mend="Wait until horizon, gap and delay have passed, or shorten the contract's horizon.",
            )
        if include_treated:
            _recount_treated(months)
        x = [_quote(_PREFIX + f.name) for f in features]
        chosen = ", ".join(
            f"{_quote(f.name)}::{'VARCHAR' if f.kind == 'category' else 'DOUBLE'} AS {q}"
            for f, q in zip(features, x, strict=True)
        )
        sides = " UNION ALL ".join(
            f"SELECT '{t}' AS observation, customer_id, {chosen} FROM {_scan(store, feature_digests[t])}"
            for t in usable
        )
        content = ", ".join(x)
        # Rows are known by their content. A customer is known by the contents of all its rows, so customers
        # that no model could tell apart are the only ones whose numbers depend on their pseudonyms.
        group = f"dense_rank() OVER (ORDER BY {content})" if contract.shape == "snapshot" else "first_seen"
        try:
            found = db.execute(
                f"""
                WITH joined AS (
                    SELECT f.*, l.label, l.mrr::DOUBLE AS mrr FROM ({sides}) f
                    JOIN labels l USING (observation, customer_id)
                    WHERE l.label IS NOT NULL AND ({include_treated} OR NOT coalesce(l.treated, false))
                ), ranked AS (
                    SELECT *, dense_rank() OVER (ORDER BY observation, {content}, label, mrr) AS content
                    FROM joined
                ), histories AS (
                    SELECT customer_id, list(content ORDER BY content) AS history
                    FROM ranked GROUP BY customer_id
                ), numbered AS (
                    SELECT customer_id, row_number() OVER (ORDER BY history, customer_id) AS first_seen
                    FROM histories
                )
                SELECT customer_id, observation, ({group} - 1)::BIGINT AS "group", label::TINYINT AS label,
                    mrr, {content}
                FROM ranked JOIN numbered USING (customer_id)
                ORDER BY ranked.content, first_seen
                """
            ).to_arrow_table()
        except duckdb.BinderException as error:
            raise TrainingError(
                f"The features do not have the catalogue's columns: {str(error).splitlines()[0]}.",
                mend="Materialize customer_features again.",
            ) from error
    return found, months


def _count(db: Any, observations: Sequence[str]) -> list[dict[str, Any]]:
    """Rows by observation and outcome. Months with immature labels count as not mature and give no rows."""
    counted = db.execute(
        """
        SELECT observation,
            count(*) FILTER (outcome = 'immature') AS immature,
            count(*) FILTER (label IS NOT NULL AND NOT coalesce(treated, false)) AS rows,
            count(*) FILTER (label = 1 AND NOT coalesce(treated, false)) AS positives,
            count(*) FILTER (label IS NOT NULL AND treated) AS treated,
            count(*) FILTER (label = 1 AND treated) AS treated_positives,
            count(*) FILTER (outcome = 'involuntary') AS censored
        FROM labels GROUP BY observation
        """
    ).fetchall()
    by_month = {row[0]: row[1:] for row in counted}
    months = []
    for observation in observations:
        immature, rows, positives, treated, treated_positives, censored = by_month.get(observation, (0,) * 6)
        mature = immature == 0
        months.append(
            {
                "observation": observation,
                "mature": mature,
                "rows": rows if mature else 0,
                "positives": positives if mature else 0,
                "treated": treated if mature else 0,
                "treated_positives": treated_positives if mature else 0,
                "censored": censored if mature else 0,
            }
        )
    return months


def _recount_treated(months: list[dict[str, Any]]) -> None:
    for month in months:
        month["rows"] += month["treated"]
        month["positives"] += month["treated_positives"]


def _scan(store: ContentStore, digest: str) -> str:
    return f"read_parquet('{str(store.path(digest)).replace(chr(39), chr(39) * 2)}')"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
