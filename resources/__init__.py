"""Dagster resources: thin handles on the store, MLflow, Feast and BentoML."""

from __future__ import annotations

from typing import Any


def all_resources() -> dict[str, Any]:
    """The resources of a deployment, by name."""
    from resources.bento import BentoResource
    from resources.feast import FeastResource
    from resources.lineage import LineageResource
    from resources.mlflow import MlflowResource
    from resources.store import StoreResource

    store = StoreResource()
    return {
        "store": store,
        "lineage": LineageResource(store=store),
        "feast": FeastResource(),
        "mlflow": MlflowResource(),
        "bento": BentoResource(),
    }
