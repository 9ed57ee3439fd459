"""Held-out predictions: what an evaluation is made of, kept as one Parquet artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from churn_platform.evaluation.metrics import Floats, sigmoid

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore

_FLOOR = "floor_"


@dataclass(frozen=True)
class Predictions:
    """Predictions for rows that the model has not learned from; all arrays have n entries.

    Attributes:
        row: the row's number in the training set (``TrainingSet.customers`` knows whose it is).
        observation: the observation date key.
        group: the customer's number (in a snapshot each row is a customer).
        label: 1 left, 0 stayed.
        mrr: monthly revenue at the observation date; NaN where unknown.
        margin: calibrated log-odds.
        floors: scores of the floors on the same rows, by name: "logistic_regression" (log-odds),
            "recency_rule" (days).
    """

    row: npt.NDArray[np.int64]
    observation: npt.NDArray[np.object_]
    group: npt.NDArray[np.int64]
    label: npt.NDArray[np.int8]
    mrr: Floats
    margin: Floats
    floors: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def probability(self) -> Floats:
        """sigmoid(margin)."""
        return sigmoid(self.margin)

    def write(self, store: ContentStore) -> str:
        """Keep them as Parquet (probability included, for readers without this class); the artifact's
        digest."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {
            "row": self.row,
            "observation": pa.array(self.observation, pa.string()),
            "group": self.group,
            "label": self.label,
            "mrr": self.mrr,
            "margin": self.margin,
            "probability": self.probability,
            **{f"{_FLOOR}{name}": score for name, score in self.floors.items()},
        }
        with store.temporary() as path:
            pq.write_table(pa.table(columns), path, compression="zstd")
            return store.put_file(path)

    @classmethod
    def read(cls, store: ContentStore, digest: str) -> Predictions:
        """Read what :meth:`write` kept."""
        import pyarrow.parquet as pq

        table = pq.read_table(store.path(digest))

        def column(name: str) -> Any:
            return table.column(name).to_numpy(zero_copy_only=False)

        return cls(
            row=column("row"),
            observation=column("observation").astype(object),
            group=column("group"),
            label=column("label"),
            mrr=column("mrr"),
            margin=column("margin"),
            floors={n.removeprefix(_FLOOR): column(n) for n in table.column_names if n.startswith(_FLOOR)},
        )
