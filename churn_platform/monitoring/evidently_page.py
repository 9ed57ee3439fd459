"""Evidently's drift report on samples, as a page for people and as JSON. No decision is taken from it.

Import costs 4 to 8 s and 290 MB: only where a report is written, never in serving.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.monitoring.drift import MODERATE, OTHER, Kind, Reference


@dataclass(frozen=True)
class Sample:
    """Columns of shape (n,) each: float64 with NaN for numbers, objects for categories."""

    columns: Mapping[str, NDArray[Any]]
    rows: int


@dataclass(frozen=True)
class Page:
    """What was written. ``html`` and ``json`` are None where no column could be compared."""

    html: Path | None
    json: Path | None
    compared: tuple[str, ...]
    left_out: Mapping[str, str]


def comparable(before: Sample, now: Sample, kinds: Mapping[str, Kind]) -> tuple[list[str], dict[str, str]]:
    """Columns that Evidently can take, and why the others are left out.

    Evidently stops at a column that is empty on either side ("An empty column … was provided").
    """
    taken: list[str] = []
    left_out: dict[str, str] = {}
    for name, kind in kinds.items():
        sides = [
            side
            for side, sample in (("training months", before), ("current month", now))
            if not _known(sample.columns[name], kind).any()
        ]
        if sides:
            left_out[name] = f"no value in the {' and the '.join(sides)}"
        else:
            taken.append(name)
    return taken, left_out


def _known(values: NDArray[Any], kind: Kind) -> NDArray[np.bool_]:
    if kind == "number":
        return np.isfinite(values.astype(np.float64))
    return np.array([value is not None and value != "" for value in values], dtype=np.bool_)


def _frame(sample: Sample, names: Sequence[str], kinds: Mapping[str, Kind], reference: Reference) -> Any:
    """A pandas frame; rare categories become "(other)": no text that could name someone reaches the page."""
    import pandas as pd

    data: dict[str, Any] = {}
    for name in names:
        values = sample.columns[name]
        if kinds[name] == "number":
            data[name] = np.where(np.isfinite(values), values, np.nan)
        else:
            kept = set(reference.columns[name].categories)
            data[name] = [v if v is None or v in kept else OTHER for v in values]
    return pd.DataFrame(data)


def write_page(before: Sample, now: Sample, *, kinds: Mapping[str, Kind], reference: Reference, folder: Path) -> Page:
    """Write ``evidently.html`` and ``evidently.json`` into ``folder``.

    Args:
        kinds: the columns to compare, each "number" or "category"; every one is in both samples.
        reference: gives the categories that are shown by name.
    """
    names, left_out = comparable(before, now, kinds)
    if not names:
        return Page(None, None, (), left_out)
    with warnings.catch_warnings():
        # Its dependencies warn on import, and its statistics divide by zero on constant columns.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        definition = DataDefinition(
            numerical_columns=[n for n in names if kinds[n] == "number"],
            categorical_columns=[n for n in names if kinds[n] == "category"],
        )
        report = Report([ValueDrift(column=name, method="psi", threshold=MODERATE) for name in names])
        snapshot = report.run(
            Dataset.from_pandas(_frame(now, names, kinds, reference), definition),
            Dataset.from_pandas(_frame(before, names, kinds, reference), definition),
        )
        html, json = folder / "evidently.html", folder / "evidently.json"
        snapshot.save_html(str(html))
        snapshot.save_json(str(json))
    return Page(html, json, tuple(names), left_out)
