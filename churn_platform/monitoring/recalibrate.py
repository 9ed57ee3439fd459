"""Setting the champion's probabilities right by the departures after one month, and judging whether that helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.champion.package import exported, load_package, verify_package
from churn_platform.monitoring.signals import MonthScores
from churn_platform.training.recalibration import Update, fit_shift, shifted_package

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract

SCHEMA = "recalibration/1"


@dataclass(frozen=True)
class Recalibrated:
    """A champion with another intercept.

    Attributes:
        base: digest of the model that was shifted.
        model, package: digest of the new model, and of its tree in the store.
        passed: whether it may take the champion's place: the package verifies and the log loss is lower.
    """

    month: str
    base: str
    model: str
    package: str
    update: Update
    passed: bool

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "asked": True, **asdict(self)}


def recalibrate(
    champion: Mapping[str, Any],
    contract: Contract,
    month: str,
    *,
    features: str,
    labels: str,
    as_of: datetime,
    store: ContentStore,
) -> Recalibrated:
    """Shift the champion so that it expects as many departures after ``month`` as were observed.

    Args:
        champion: its reference: ``package`` and ``model``.
        features, labels: digests of the month's tables.
        as_of: until when departures are known (naive UTC).

    Raises:
        TrainingError: nothing can be set right by an intercept.
    """
    with exported(store, champion["package"]) as folder:
        model = load_package(folder, digest=champion["model"])
        scores = MonthScores(model, store.path(features), store.path(labels))
        margin, left, passed = scores.window(
            month, as_of=as_of, gap=contract.label.gap_days, horizon=contract.label.horizon_days
        )
        update = fit_shift(margin, left, passed=passed)
        with store.temporary() as target:
            digest = shifted_package(folder, target, update, month=month)
            package = store.put_tree(target)
    good = update.helps and verify_package(store, package)
    return Recalibrated(month, str(champion["model"]), digest, package, update, good)
