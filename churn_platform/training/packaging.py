"""The form of a model package, and its writer. A package is a flat folder of text files; nothing in it is
executed.

``manifest.json`` names every file with size and SHA-256; the digest of the package is that of the manifest's
bytes.
Nothing in a package depends on when, where or by whom it was made: the same training gives the same digest.
The reader is :mod:`churn_platform.champion.package`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_platform.features.catalogue import Feature
from churn_platform.records.files import write_atomic
from churn_platform.records.jsontext import canonical
from churn_platform.training.calibration import Platt
from churn_platform.training.encode import Columns, FeatureEncoder, Floats
from churn_platform.training.linear import LinearMember

MANIFEST = "manifest.json"
MODEL, LINEAR = "model.txt", "linear.json"
ENCODER, CALIBRATION, FEATURES = "encoder.json", "calibration.json", "features.json"
METADATA, REFERENCE = "metadata.json", "reference.json"
REQUIRED = frozenset({ENCODER, CALIBRATION, FEATURES, METADATA, REFERENCE})
OPTIONAL = frozenset({MODEL, LINEAR})

REFERENCE_ROWS = 16
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Parts:
    """What a package is made of.

    Attributes:
        features: the catalogue, in the encoder's order.
        encoder, calibration: as fitted.
        forest: LightGBM's text, or None.
        linear: the linear member, or None. At least one of the two is there.
        weights: weight of each member in the raw margin, by "forest" and "linear".
        profile: :func:`profile_features` of the training rows.
        reference: encoded rows (r, d) with NaN, on which the loader tests itself.
        reference_margins: calibrated log-odds of these rows (r), by the libraries that trained.
        metadata: facts about the training; "base_rate" (share of leavers in training) is needed.
    """

    features: Sequence[Feature]
    encoder: FeatureEncoder
    calibration: Platt
    forest: str | None
    linear: LinearMember | None
    weights: Mapping[str, float]
    profile: Mapping[str, Any]
    reference: Floats
    reference_margins: Floats
    metadata: Mapping[str, Any]


def write_package(directory: Path, parts: Parts) -> str:
    """Write a package into a new or empty folder; the digest of the package (64 hex digits).

    The manifest is written last, so a folder without one is not a package.
    """
    contents: dict[str, bytes] = {
        ENCODER: canonical(parts.encoder.to_json()),
        CALIBRATION: canonical(parts.calibration.to_json()),
        FEATURES: canonical(
            {
                "schema": "model_features/1",
                "features": [asdict(feature) for feature in parts.features],
                "profile": dict(parts.profile),
            }
        ),
        METADATA: canonical({"schema": "model_metadata/1", **parts.metadata, "weights": dict(parts.weights)}),
        REFERENCE: canonical(
            {
                "schema": "model_reference/1",
                "rows": [[None if np.isnan(v) else float(v) for v in row] for row in parts.reference],
                "margins": [float(m) for m in parts.reference_margins],
            }
        ),
    }
    if parts.forest is not None:
        contents[MODEL] = parts.forest.encode()
    if parts.linear is not None:
        contents[LINEAR] = canonical(parts.linear.to_json())
    return _write(directory, contents)


def rewrite_package(source: Path, target: Path, changed: Mapping[str, bytes]) -> str:
    """Write a package into a new folder with some of its files replaced; the digest of the new package."""
    names = json.loads((source / MANIFEST).read_bytes())["files"]
    return _write(target, {name: changed.get(name) or (source / name).read_bytes() for name in names})


def _write(directory: Path, contents: Mapping[str, bytes]) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        write_atomic(directory / name, data)
    manifest = canonical(
        {
            "schema": "model_package/1",
            "files": {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                for name, data in contents.items()
            },
        }
    )
    write_atomic(directory / MANIFEST, manifest)
    return hashlib.sha256(manifest).hexdigest()


def profile_features(features: Sequence[Feature], columns: Columns) -> dict[str, Any]:
    """What is typical of each feature in the training rows: what a reason compares a customer with.

    Numbers: "median", "quantiles" (5, 25, 50, 75, 95 %) and "missing" (share); categories: "top", "shares" of
    the most frequent levels and "missing".
    """
    profile: dict[str, Any] = {}
    for feature in features:
        values = np.asarray(columns[feature.name])
        if feature.kind == "number":
            numbers = values.astype(np.float64)
            known = numbers[~np.isnan(numbers)]
            quantiles = [float(q) for q in np.quantile(known, _QUANTILES)] if len(known) else None
            profile[feature.name] = {
                "median": quantiles[2] if quantiles else None,
                "quantiles": quantiles,
                "missing": _share(len(numbers) - len(known), len(numbers)),
            }
        else:
            profile[feature.name] = _profile_category(values)
    return profile


def _profile_category(values: npt.NDArray[Any]) -> dict[str, Any]:
    known = np.array([str(v) for v in values if v is not None and v == v], dtype=object)
    levels, counts = np.unique(known, return_counts=True) if len(known) else (known, np.array([]))
    order = np.lexsort((np.arange(len(levels)), -counts))[:20]
    return {
        "top": str(levels[order[0]]) if len(levels) else None,
        "shares": {str(levels[i]): _share(int(counts[i]), len(values)) for i in order},
        "missing": _share(len(values) - len(known), len(values)),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
