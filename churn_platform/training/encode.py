"""Feature values to the numbers that the learners read. One encoder for training and serving; NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature

Floats: TypeAlias = npt.NDArray[np.float64]
Columns: TypeAlias = Mapping[str, Sequence[Any] | npt.NDArray[Any]]
Rows: TypeAlias = Sequence[Mapping[str, Any]]

# More levels than this and the rarest are read as unknown: a tree cannot learn from a level it hardly ever
# saw.
MAX_LEVELS = 256


class FeatureEncoder:
    """Numbers pass as float64 with NaN for unknown; categories become the code of their level in the training
    data.

    A level that training did not see, and a missing one, become NaN. A feature that a row or the columns
    leave out is unknown; names that the encoder does not know are ignored.

    Args:
        features: in the order of the encoded columns.
        levels: category feature → its levels; a level's code is its place.
    """

    def __init__(self, features: Sequence[Feature], levels: Mapping[str, Sequence[str]]) -> None:
        self.features = tuple(features)
        self.levels = {f.name: tuple(levels[f.name]) for f in self.features if f.kind == "category"}
        self._codes = {
            name: {level: float(code) for code, level in enumerate(known)} for name, known in self.levels.items()
        }

    @classmethod
    def fit(cls, features: Sequence[Feature], columns: Columns) -> FeatureEncoder:
        """Learn the levels of each category from training columns; the most frequent ones, in alphabetical
        order."""
        levels: dict[str, list[str]] = {}
        for feature in features:
            if feature.kind != "category":
                continue
            counts: dict[str, int] = {}
            for value in columns[feature.name]:
                if value is not None and value == value:
                    counts[str(value)] = counts.get(str(value), 0) + 1
            frequent = sorted(counts, key=lambda level: (-counts[level], level))[:MAX_LEVELS]
            levels[feature.name] = sorted(frequent)
        return cls(features, levels)

    @property
    def categorical(self) -> list[int]:
        """Positions of the category features in the encoded columns."""
        return [i for i, feature in enumerate(self.features) if feature.kind == "category"]

    def transform(self, data: Columns | Rows) -> Floats:
        """Encode n rows, or columns of n values.

        Returns:
            Shape (n, number of features), C-contiguous.

        Raises:
            FeatureError: for text or infinity where a number belongs, or columns of different lengths.
        """
        if isinstance(data, Mapping):
            lengths = {len(data[f.name]) for f in self.features if f.name in data}
            if len(lengths) > 1:
                raise FeatureError(
                    "The columns of features differ in length.",
                    mend="Give every column one value for each customer.",
                )
            rows = lengths.pop() if lengths else 0
            encoded = np.full((rows, len(self.features)), np.nan)
            for i, feature in enumerate(self.features):
                if feature.name in data:
                    encoded[:, i] = self._column(feature, data[feature.name])
            return encoded
        encoded = np.full((len(data), len(self.features)), np.nan)
        for i, feature in enumerate(self.features):
            name = feature.name
            encoded[:, i] = self._column(feature, [row.get(name) for row in data])
        return encoded

    def _column(self, feature: Feature, values: Sequence[Any] | npt.NDArray[Any]) -> Floats:
        if feature.kind == "category":
            codes = self._codes[feature.name]
            # str(): a company's numeric or boolean level is the same level after a trip through JSON
            return np.fromiter(
                (np.nan if v is None else codes.get(v if type(v) is str else str(v), np.nan) for v in values),
                dtype=np.float64,
                count=len(values),
            )
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
            numbers = values.astype(np.float64)
        else:
            numbers = np.fromiter((_number(feature.name, v) for v in values), dtype=np.float64, count=len(values))
        if np.isinf(numbers).any():
            raise _not_a_number(feature.name, "infinity")
        return numbers

    def to_json(self) -> dict[str, Any]:
        """The levels of each category, with the names in order so that a mix-up is noticed."""
        return {
            "schema": "feature_encoder/1",
            "features": [feature.name for feature in self.features],
            "levels": {name: list(known) for name, known in self.levels.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], features: Sequence[Feature]) -> FeatureEncoder:
        """The encoder that :meth:`to_json` described.

        Raises:
            FeatureError: where it was made for other features or another order.
        """
        names = [feature.name for feature in features]
        categories = {feature.name for feature in features if feature.kind == "category"}
        if value["features"] != names or set(value["levels"]) != categories:
            raise FeatureError(
                "The stored encoder was made for other features.",
                mend="Use encoder and features of one package.",
            )
        return cls(features, value["levels"])


def _number(name: str, value: Any) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bool | int | float | np.number | np.bool_):
        try:
            return float(value)
        except OverflowError as error:
            raise _not_a_number(name, "an integer beyond 64-bit floats") from error
    raise _not_a_number(name, f"{type(value).__name__} {value!r}"[:60])


def _not_a_number(name: str, found: str) -> FeatureError:
    return FeatureError(
        f"The feature {name!r} takes a finite number or null, not {found}.",
        mend="Send a number, or null where it is unknown.",
        field=name,
    )
