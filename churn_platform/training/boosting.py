"""LightGBM, held to what makes it repeatable: one seed, deterministic histograms, a text without the thread
count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from churn_platform.evaluation.metrics import Array
from churn_platform.training.encode import Floats

# Coarser than the default of 255 bins: less time, and fewer thresholds to fit noise with.
_DATASET = {"max_bin": 127, "feature_pre_filter": False, "verbosity": -1}
_ALWAYS = {
    "objective": "binary",
    "metric": "binary_logloss",
    "bagging_freq": 1,
    "max_cat_to_onehot": 4,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


def dataset(encoded: Floats, y: Array, categorical: Sequence[int], *, weight: Array | None = None) -> Any:
    """A constructed LightGBM dataset, to be used by many fits: binning costs as much as a short fit."""
    import lightgbm as lgb

    return lgb.Dataset(
        np.ascontiguousarray(encoded),
        np.asarray(y, dtype=np.float64),
        weight=weight,
        categorical_feature=list(categorical),
        params=_DATASET,
    ).construct()


def fit(data: Any, params: Mapping[str, Any], rounds: int, *, seed: int, threads: int, **options: Any) -> Any:
    """A booster of ``rounds`` trees. The same for any number of threads.

    Args:
        options: further arguments of ``lightgbm.train`` (validation sets, callbacks).
    """
    import lightgbm as lgb

    return lgb.train({**_DATASET, **_ALWAYS, **params, "seed": seed, "num_threads": threads}, data, rounds, **options)


def raw_margin(booster: Any, encoded: Floats, *, rounds: int | None = None, threads: int = 1) -> Floats:
    """Log-odds of encoded rows before calibration (n)."""
    return np.asarray(
        booster.predict(encoded, raw_score=True, num_iteration=rounds, num_threads=threads), dtype=np.float64
    )


def text(booster: Any) -> str:
    """The model in LightGBM's own text format, the same for any number of threads."""
    return re.sub(r"^\[num_threads: \d+\]$", "[num_threads: 1]", booster.model_to_string(), flags=re.MULTILINE)
