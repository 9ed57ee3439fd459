"""The feature tables that a champion has learned from, whatever has become of their months since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churn_platform.records.history import History
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.training.dataset import TrainingSet


def learned_tables(home: Home, champion: Mapping[str, Any]) -> dict[str, str]:
    """Training month → digest of its feature table at the time of the training.

    The months themselves may be no more: a source with a rolling window forgets them, the store does not.

    Args:
        champion: its reference.

    Raises:
        ArtifactMissingError: the training was recorded by an older release, and one of its months is gone.
    """
    store = ContentStore(home.store)
    months = store.read_json(champion["challenger"])["split"]["train"]
    made = History.read(home).find("challenger", str(champion["challenger"]))
    known: Mapping[str, str] = {}
    if made is not None and "training_set" in made.inputs:
        known = TrainingSet.read(store, made.inputs["training_set"]).inputs["features"]
    refs = Refs(home.refs)
    return {
        month: known[month] if month in known else refs.get("customer_features", month)["digest"] for month in months
    }
