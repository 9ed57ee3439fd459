"""Fits the profile of customers: an isolation forest and a few segments, on training months only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_platform.features.catalogue import Feature
from churn_platform.features.profile import Floats, IsolationTrees, ProfileModel, Scaling, expected_path

TREES = 64
SAMPLES = 256
LEAST_KNOWN = 0.5
"""A feature that fewer customers have does not describe them."""
ALIKE = 0.8
"""Segments are made of features that correlate less than this with each other."""
MOST_FEATURES = 12
SEGMENTS = (3, 4, 5)
ROWS = 20_000
JUDGED = 1_500
WORDS = 2


def fit_profile(features: Sequence[Feature], values: Floats, *, seed: int = 0) -> ProfileModel | None:
    """A profile from rows of training months.

    Args:
        features: hand-made numeric features, in the order of the columns.
        values: (n, d), NaN for unknown; in an order that no pseudonym can influence.

    Returns:
        None where fewer than two features describe the customers, or with fewer rows than a tree grows on.
    """
    values = thinned(values, ROWS)
    known = np.mean(~np.isnan(values), axis=0) >= LEAST_KNOWN
    varies = np.array([len(np.unique(column[~np.isnan(column)])) > 2 for column in values.T], dtype=bool)
    chosen = np.flatnonzero(known & varies)
    if len(chosen) < 2 or len(values) < SAMPLES:
        return None
    scaling = Scaling.fit([features[i].name for i in chosen], values[:, chosen])
    scaled = scaling.transform(values[:, chosen])
    used = _different(scaled)
    centres = _centres(scaled[:, used], seed)
    labels = [features[chosen[i]].label for i in used]
    return ProfileModel(scaling, _forest(scaled, seed), used, centres, _names(centres, labels))


def thinned(values: Floats, most: int) -> Floats:
    """At most so many of the rows, evenly spread over their order."""
    return values if len(values) <= most else values[np.linspace(0, len(values) - 1, most).astype(np.int64)]


def _forest(scaled: Floats, seed: int) -> IsolationTrees:
    """scikit-learn's isolation forest as arrays."""
    from sklearn.ensemble import IsolationForest

    fitted = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=seed, n_jobs=1).fit(scaled)
    parts: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "left", "right", "path")}
    roots, start = [], 0
    for tree, columns in zip(fitted.estimators_, fitted.estimators_features_, strict=True):
        inner = tree.tree_.children_left >= 0
        depth = np.zeros(tree.tree_.node_count)
        for node in np.flatnonzero(inner):  # parents come before their children
            depth[tree.tree_.children_left[node]] = depth[tree.tree_.children_right[node]] = depth[node] + 1
        rest = np.array([expected_path(int(count)) for count in tree.tree_.n_node_samples])
        roots.append(start)
        parts["feature"].append(np.where(inner, columns[np.maximum(tree.tree_.feature, 0)], -1))
        parts["threshold"].append(np.where(inner, tree.tree_.threshold, 0.0))
        parts["left"].append(np.where(inner, tree.tree_.children_left + start, 0))
        parts["right"].append(np.where(inner, tree.tree_.children_right + start, 0))
        parts["path"].append(np.where(inner, 0.0, depth + rest))
        start += tree.tree_.node_count
    joined = {name: np.concatenate(each) for name, each in parts.items()}
    whole = {name: joined[name].astype(np.int64) for name in ("feature", "left", "right")}
    return IsolationTrees(
        roots=np.asarray(roots, dtype=np.int64),
        threshold=joined["threshold"],
        path=joined["path"],
        samples=int(fitted.max_samples_),
        **whole,
    )


def _different(scaled: Floats) -> npt.NDArray[np.int64]:
    """Features that say different things, in the catalogue's order."""
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.abs(np.nan_to_num(np.corrcoef(scaled, rowvar=False)))
    used: list[int] = []
    for i in range(scaled.shape[1]):
        if len(used) < MOST_FEATURES and all(alike[i, j] < ALIKE for j in used):
            used.append(i)
    return np.asarray(used, dtype=np.int64)


def _centres(own: Floats, seed: int) -> Floats:
    """The number of segments that are best apart (silhouette, on a sample), and their centres, largest first."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    judged = thinned(own, JUDGED)
    best: tuple[float, Floats] | None = None
    for count in SEGMENTS:
        fitted = KMeans(count, n_init=3, max_iter=100, random_state=seed).fit(own)
        groups = fitted.predict(judged)
        apart = float(silhouette_score(judged, groups)) if len(np.unique(groups)) > 1 else -1.0
        if best is None or apart > best[0]:
            sizes = np.bincount(fitted.labels_, minlength=count)
            best = apart, fitted.cluster_centers_[np.argsort(-sizes, kind="stable")]
    assert best is not None  # noqa: S101 - SEGMENTS is not empty
    return np.round(best[1], 9)


def _names(centres: Floats, labels: Sequence[str]) -> tuple[str, ...]:
    """What sets each centre apart from the mean of all, in words: "few logins, many days as a customer"."""
    names: list[str] = []
    for centre in centres - centres.mean(axis=0):
        order = np.argsort(-np.abs(centre), kind="stable")
        words = [f"{'high' if centre[i] > 0 else 'low'}: {labels[i]}" for i in order[: WORDS + 2]]
        name = "; ".join(words[:WORDS])
        for more in range(WORDS + 1, len(words) + 1):
            if name in names:
                name = "; ".join(words[:more])
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return tuple(names)
