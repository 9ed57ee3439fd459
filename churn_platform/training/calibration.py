"""Platt's scaling: raw log-odds to calibrated ones by a line, so that Shapley values scale with it
exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from churn_platform.errors import TrainingError
from churn_platform.evaluation.metrics import Array, Floats, recalibration

# Beyond this the fit has found separation, not calibration.
_STEEPEST = 20.0


@dataclass(frozen=True)
class Platt:
    """calibrated margin = slope × raw margin + intercept, with slope > 0: the ranking stays."""

    slope: float
    intercept: float

    def __call__(self, raw: Floats) -> Floats:
        """Calibrated log-odds of any shape."""
        return self.slope * raw + self.intercept

    def to_json(self) -> dict[str, Any]:
        return {"schema": "platt/1", "slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Platt:
        return cls(float(value["slope"]), float(value["intercept"]))


def fit_platt(y: Array, raw: Array) -> Platt:
    """Fit on margins of rows that the model had not learned from (out of fold). Platt (1999).

    Raises:
        TrainingError: where higher margins do not mean more departures: the model has learned nothing.
        NotEnoughDataError: where a class is absent.
    """
    line = recalibration(y, raw)
    if not 0.0 < line.slope <= _STEEPEST:
        raise TrainingError(
            f"Held-out rows do not bear the model out: the slope of outcome on margin is {line.slope:.3g}.",
            mend="Add features or history: with these, the model orders customers no better than chance.",
        )
    return Platt(line.slope, line.intercept)
