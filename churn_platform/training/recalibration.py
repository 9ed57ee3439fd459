"""The same model with its probabilities set right: an update of the intercept alone.

With the departures of one window, whose number is certain and whose details are not, only one parameter can be fitted
honestly: calibration-in-the-large (Steyerberg, *Clinical Prediction Models*, 2nd ed., section 20.3, "update of the
intercept"). The shift d solves  sum_i sigmoid(margin_i + d) = departures;  ranking and contributions stay, and the base
value moves by d.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from churn_platform.errors import TrainingError
from churn_platform.evaluation.metrics import Floats, sigmoid
from churn_platform.records.jsontext import canonical
from churn_platform.training.packaging import CALIBRATION, METADATA, REFERENCE, rewrite_package

FURTHEST = 3.0
"""Log-odds: beyond this it is not the same model that is off."""


@dataclass(frozen=True)
class Update:
    """What was changed, and whether it helps.

    Attributes:
        shift: added to every margin.
        expected_before: departures that the unshifted model expects in the whole window.
        observed: departures known so far.
        loss_before, loss_after: log loss on the customers of the window; lower is better.
    """

    shift: float
    expected_before: float
    observed: int
    loss_before: float
    loss_after: float

    @property
    def helps(self) -> bool:
        return self.loss_after < self.loss_before


def fit_shift(margin: Floats, left: Floats, *, passed: float = 1.0) -> Update:
    """The shift that makes the expected departures those observed.

    Args:
        margin: calibrated log-odds (n).
        left: 1.0 left, 0.0 stayed (n).
        passed: share of the window that has passed, in (0, 1]: so much of the departures are known.

    Raises:
        TrainingError: nobody or everybody left, or the shift is out of all proportion.
    """
    observed = int(left.sum())
    if not 0 < observed < len(left):
        raise TrainingError(
            f"{observed} of {len(left)} customers left: that sets no probability right.",
            mend="Look at the data of this month first.",
        )
    low, high = -20.0, 20.0
    for _ in range(200):
        shift = (low + high) / 2
        low, high = (shift, high) if float(sigmoid(margin + shift).sum()) < observed / passed else (low, shift)
    shift = round((low + high) / 2, 12)
    if abs(shift) > FURTHEST:
        raise TrainingError(
            f"The probabilities are off by {shift:.1f} in log-odds: that is no loss of calibration.",
            mend="Train again, after a look at the data of this month.",
        )
    return Update(shift, float(sigmoid(margin).sum()), observed, _loss(left, margin), _loss(left, margin + shift))


def shifted_package(folder: Path, target: Path, update: Update, *, month: str) -> str:
    """Write the package in ``folder`` into ``target`` with its calibration shifted; its digest."""
    calibration = json.loads((folder / CALIBRATION).read_bytes())
    calibration["intercept"] += update.shift
    metadata = json.loads((folder / METADATA).read_bytes())
    metadata["recalibrated"] = {"month": month, "shift": update.shift, "observed": update.observed}
    reference = json.loads((folder / REFERENCE).read_bytes())
    reference["margins"] = [margin + update.shift for margin in reference["margins"]]
    changed = {CALIBRATION: calibration, METADATA: metadata, REFERENCE: reference}
    return rewrite_package(folder, target, {name: canonical(value) for name, value in changed.items()})


def _loss(left: Floats, margin: Floats) -> float:
    # log(1 + e^m) - y m, without overflow
    return float(np.mean(np.logaddexp(0.0, margin) - left * margin))
