"""What a customer is like beside the others: an anomaly score and a segment, functions of the other features.

Both are fitted on training months only (:mod:`churn_platform.training.profile`), stored as arrays in JSON and applied
here with NumPy alone. They are made for whole months (batch): a pushed row never carries them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature

Floats = npt.NDArray[np.float64]
SCHEMA = "customer_profile/1"
CLIP = 4.0
"""Scaled inputs are cut here: beyond it, farther is not stranger."""
EULER = 0.5772156649015329

PROFILE_FEATURES = (
    Feature(
        name="anomaly_score",
        family="profile",
        kind="number",
        label="how unusual the customer is beside all others",
        unit="score from 0 to 1",
        description="Isolation forest (Liu et al. 2008) over the hand-made numeric features, fitted on training months "
        "only: about .5 is ordinary, towards 1 is isolated by few questions. A batch feature, never pushed.",
        null_policy="null where a column that it reads is unusable; else never: what is not known counts as the median",
        decimals=2,
    ),
    Feature(
        name="segment",
        family="profile",
        kind="category",
        label="segment",
        unit="",
        description="The nearest of a few k-means centres over the hand-made numeric features, fitted on training "
        "months only and named by what sets it apart. A batch feature, never pushed.",
        null_policy="null where a column that it reads is unusable; else never",
        decimals=0,
    ),
)


@dataclass(frozen=True)
class Scaling:
    """How features become comparable numbers: signed logarithm, median 0, spread 1, cut at ±4; unknown is 0.

    Attributes:
        names: the features, in order (d).
        middle, spread: of each, after the logarithm (d).
    """

    names: tuple[str, ...]
    middle: Floats
    spread: Floats

    @classmethod
    def fit(cls, names: Sequence[str], values: Floats) -> Scaling:
        """From rows (n, d) with NaN for unknown."""
        logged = signed_log(values)
        middle = np.nanmedian(logged, axis=0)
        low, high = np.nanpercentile(logged, [10, 90], axis=0)
        # a feature that is the same for most customers is scaled by its extremes, so that it can still stand out
        spread = np.where(high > low, (high - low) / 2.56, np.nanstd(logged, axis=0))
        return cls(tuple(names), middle, np.where(spread > 0, spread, 1.0))

    def transform(self, values: Floats) -> Floats:
        """(n, d) raw values → (n, d) scaled ones."""
        scaled = np.clip((signed_log(values) - self.middle) / self.spread, -CLIP, CLIP)
        return np.where(np.isnan(scaled), 0.0, scaled)


def signed_log(values: Floats) -> Floats:
    """sign(x)·log(1 + |x|)."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


@dataclass(frozen=True)
class IsolationTrees:
    """An isolation forest as flat arrays of all trees' nodes (m).

    Attributes:
        roots: the node at which each tree begins.
        feature: the column asked; −1 at a leaf.
        threshold: left where the value, as float32, is not above it.
        left, right: the next node.
        path: expected length of the path at a leaf: its depth and what its rows would still need.
        samples: rows that each tree was grown on.
    """

    roots: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: Floats
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    path: Floats
    samples: int

    def score(self, scaled: Floats) -> Floats:
        """Anomaly of rows (n, d), in (0, 1): 2^(−mean path / expected path). The mean is over trees in order."""
        values = scaled.astype(np.float32).astype(np.float64)
        total, rows = np.zeros(len(values)), np.arange(len(values))
        for root in self.roots:
            node = np.full(len(values), root)
            while True:
                asked = self.feature[node]
                inner = asked >= 0
                if not inner.any():
                    break
                goes_left = values[rows, np.maximum(asked, 0)] <= self.threshold[node]
                node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
            total += self.path[node]
        return np.asarray(2.0 ** (-total / (len(self.roots) * expected_path(self.samples))))


def expected_path(samples: int) -> float:
    """Mean path of an unsuccessful search in a binary tree of ``samples`` rows (Liu et al. 2008)."""
    if samples <= 1:
        return 0.0
    if samples == 2:
        return 1.0
    return 2.0 * (float(np.log(samples - 1.0)) + EULER) - 2.0 * (samples - 1.0) / samples


@dataclass(frozen=True)
class ProfileModel:
    """The fitted profile.

    Attributes:
        scaling: of the features that it reads.
        trees: the isolation forest, over all of them.
        used: positions of those that segments are made of.
        centres: (k, len(used)) in scaled units.
        segments: a name in plain words for each centre.
    """

    scaling: Scaling
    trees: IsolationTrees
    used: npt.NDArray[np.int64]
    centres: Floats
    segments: tuple[str, ...]

    def apply(self, values: Floats) -> tuple[Floats, list[str]]:
        """Anomaly score and segment of rows (n, d), d in the order of ``scaling.names``."""
        scaled = self.scaling.transform(values)
        own = scaled[:, self.used]
        nearest = np.stack([((own - centre) ** 2).sum(axis=1) for centre in self.centres]).argmin(axis=0)
        return self.trees.score(scaled), [self.segments[k] for k in nearest]

    def append(self, table: Any) -> Any:
        """A feature table (Arrow) with :data:`PROFILE_FEATURES` as further columns.

        Raises:
            FeatureError: where a feature that the profile reads is not there.
        """
        import pyarrow as pa

        lacking = [name for name in self.scaling.names if name not in table.column_names]
        if lacking:
            raise FeatureError(
                f"The profile reads {lacking[0]}, which the feature table does not have.",
                mend="Materialize customer_profile again.",
                field=lacking[0],
            )
        if table.num_rows:
            score, segment = self.apply(matrix(table, self.scaling.names))
        else:
            score, segment = np.empty(0), []
        table = table.append_column("anomaly_score", pa.array(score, pa.float64()))
        return table.append_column("segment", pa.array(segment, pa.string()))

    def to_json(self) -> dict[str, Any]:
        """Arrays as lists; the same model gives the same text."""
        return {
            "schema": SCHEMA,
            "features": list(self.scaling.names),
            "middle": self.scaling.middle.tolist(),
            "spread": self.scaling.spread.tolist(),
            "trees": {
                "roots": self.trees.roots.tolist(),
                "feature": self.trees.feature.tolist(),
                "threshold": self.trees.threshold.tolist(),
                "left": self.trees.left.tolist(),
                "right": self.trees.right.tolist(),
                "path": self.trees.path.tolist(),
                "samples": self.trees.samples,
            },
            "used": self.used.tolist(),
            "centres": self.centres.tolist(),
            "segments": list(self.segments),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ProfileModel:
        """The inverse of :meth:`to_json`.

        Raises:
            FeatureError: for a record of another schema.
        """
        if value.get("schema") != SCHEMA:
            raise FeatureError(
                f"Expected a {SCHEMA} record, not {value.get('schema')!r}.",
                mend="Materialize customer_profile again.",
            )
        trees = value["trees"]
        return cls(
            Scaling(tuple(value["features"]), np.asarray(value["middle"]), np.asarray(value["spread"])),
            IsolationTrees(
                **{name: np.asarray(trees[name], dtype=np.int64) for name in ("roots", "feature", "left", "right")},
                threshold=np.asarray(trees["threshold"], dtype=np.float64),
                path=np.asarray(trees["path"], dtype=np.float64),
                samples=int(trees["samples"]),
            ),
            np.asarray(value["used"], dtype=np.int64),
            np.asarray(value["centres"], dtype=np.float64),
            tuple(value["segments"]),
        )


def matrix(table: Any, names: Sequence[str]) -> Floats:
    """Columns of an Arrow table as (n, d), NaN for null."""
    columns = [table.column(name).to_numpy(zero_copy_only=False) for name in names]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
