"""The present champion on the rows that a challenger is judged by, so that both are compared on the same outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_platform.champion.package import exported, load_package
from churn_platform.evaluation.predictions import Predictions
from churn_platform.training.dataset import TrainingSet
from churn_platform.training.encode import Floats

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore


def champion_margins(
    package: str, model: str, predictions: Predictions, rows: TrainingSet, store: ContentStore
) -> Floats | None:
    """Calibrated log-odds of the champion on the judged rows (n); None where the months lack one of its
    features, or where it has learned from one of them: they would flatter it.

    A feature that the challenger does not learn from any more is read from the months' feature tables.

    Args:
        package: tree digest of the champion's package.
        model: digest that the package must have.
    """
    loaded = rows.load(store)
    with exported(store, package) as folder:
        champion = load_package(folder, digest=model)
    learned = set(champion.metadata.get("observations", ()))
    if learned & set(predictions.observation.tolist()):
        return None
    names = [feature.name for feature in champion.features]
    judged = {name: loaded.columns[name][predictions.row] for name in names if name in loaded.columns}
    if others := [name for name in names if name not in judged]:
        read = _from_months(others, predictions, rows, store)
        if read is None:
            return None
        judged |= read
    return np.asarray(champion.score(judged, explain=False).margin)


def _from_months(
    names: Sequence[str], predictions: Predictions, rows: TrainingSet, store: ContentStore
) -> dict[str, npt.NDArray[Any]] | None:
    """Columns of the feature tables for the judged rows (n each); None where a month lacks one."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    customers = rows.customers(store)[predictions.row]
    found: dict[str, npt.NDArray[Any]] = {}
    for month in sorted(set(predictions.observation.tolist())):
        file = store.path(rows.inputs["features"][month])
        if not set(names) <= set(pq.read_schema(file).names):
            return None
        table = pq.read_table(file, columns=["customer_id", *names])
        here = np.flatnonzero(predictions.observation == month)
        places = pc.index_in(
            pa.array(customers[here].tolist(), pa.string()), value_set=table["customer_id"].combine_chunks()
        )
        if places.null_count:
            return None
        for name in names:
            values = np.asarray(table[name].take(places).to_numpy(zero_copy_only=False))
            found.setdefault(name, np.empty(len(predictions.observation), dtype=values.dtype))[here] = values
    return found
