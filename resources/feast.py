"""Feast as a Dagster resource: apply the views, bring the newest month online, compare what can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from churn_platform.settings import settings
from resources.store import StoreResource


@dataclass(frozen=True)
class Published:
    """What went online. ``digest`` is that of the record in the store; ``different`` shows up to ten values."""

    digest: str
    customers: int
    service: str
    views: tuple[str, ...]
    compared: int
    equal: bool
    different: str


class FeastResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Publishes feature tables through Feast."""

    def publish(
        self, store: StoreResource, month: str, features: str, labels: str, progress: Callable[[str, float], None]
    ) -> Published:
        """Make every month readable offline and the newest one online.

        Args:
            month: the newest observation; ``features`` the digest of its table, ``labels`` that of its labels, which
                say who has left since.
        """
        from churn_platform.features.feast_store import apply, materialize, sync_offline
        from churn_platform.features.labels import departed
        from churn_platform.features.skew import skew

        home, objects, refs = store.home, store.objects, store.refs
        months = {key: refs.get("customer_features", key)["digest"] for key in refs.partitions("customer_features")}
        progress("offline files", 0.1)
        sync_offline(home, {**months, month: features}, store=objects)
        progress("feature views", 0.2)
        applied = apply(home, store.catalogue, problem=settings().problem)
        progress("online store", 0.4)
        # A flat file makes no claim about time: all its rows can be asked for.
        gone = departed(objects.path(labels)) if store.contract.shape == "relational" else []
        customers = materialize(home, month, but=gone)
        progress("comparing", 0.9)
        found = skew(home, month, but=gone)
        views = tuple(view.name for view in applied.views)
        record = {
            "schema": "online_features/1",
            "month": month,
            "features": features,
            "labels": labels,
            "customers": customers,
            "service": applied.service.name,
            "views": list(views),
        }
        return Published(
            digest=objects.put_json(record),
            customers=customers,
            service=applied.service.name,
            views=views,
            compared=found.values,
            equal=not found.differing,
            different="; ".join(found.differing) or "none",
        )
