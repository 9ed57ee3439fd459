"""Feast as a Dagster resource: apply the views, bring the newest month online, compare what can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_platform.settings import settings
from resources.store import StoreResource

if TYPE_CHECKING:
    from churn_platform.features.skew import Skew


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


@dataclass(frozen=True)
class Health:
    """What is online, looked after. ``digest`` is that of the record in the store; texts are for people."""

    digest: str
    customers: int
    values: int
    pushed: int
    equal: bool
    different: str
    low: str
    fresh: bool
    age_days: float
    shifted: str


def history_input() -> dict[str, str]:
    """Where Feast's history is kept, as an input from outside the graph: where that changes, it is written anew."""
    return {"settings:offline_store": settings().offline_store}


def agrees(skew: Skew, *, fresh: bool) -> bool:
    """Whether the four ways say the same. That there was nothing to compare is well where every customer was pushed
    since, and where what is online is too old to be served: its age has a check of its own."""
    return not skew.differing and (skew.customers + skew.pushed > 0 or not fresh)


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

    def register_model(self, store: StoreResource, champion: Mapping[str, Any]) -> str:
        """A feature service of what the champion reads; its name.

        Args:
            champion: its reference, with ``version`` and ``model``, whose package is in the home.
        """
        from churn_platform.champion.package import load_package
        from churn_platform.features.feast_store import register_model

        package = load_package(store.home.champion / champion["model"])
        return register_model(store.home, champion["version"], [one.name for one in package.features])

    def health(self, store: StoreResource, month: str, features: str, labels: str) -> Health:
        """Skew, availability, freshness and month-to-month drift of what is online.

        Args:
            month: the newest observation; ``features`` the digest of its table, ``labels`` that of its labels.
        """
        from churn_platform.features.health import availability, freshness
        from churn_platform.features.labels import departed
        from churn_platform.features.skew import skew_online
        from churn_platform.monitoring.month_drift import month_to_month

        home, objects, refs = store.home, store.objects, store.refs
        gone = departed(objects.path(labels)) if store.contract.shape == "relational" else []
        skew, there, age = skew_online(home), availability(home, month, but=gone), freshness(home)
        earlier = [one for one in refs.partitions("customer_features") if one < month]
        drift = []
        if earlier:
            before = objects.path(refs.get("customer_features", earlier[-1])["digest"])
            drift = month_to_month(before, objects.path(features), store.catalogue)
        shifted = [one for one in drift if one.verdict in ("shifted", "empty")]
        days = age.age.total_seconds() / 86_400 if age.age is not None and age.limit else 0.0
        record = {
            "schema": "feature_health/1",
            "month": month,
            "compared": {"customers": skew.customers, "values": skew.values, "pushed": skew.pushed},
            "differing": list(skew.differing),
            "availability": dict(there.shares),
            "missing": dict(there.missing),
            "observed": age.observed.isoformat() if age.observed else None,
            "drift": {
                one.name: {"psi": round(one.psi, 6), "verdict": one.verdict} for one in drift if one.psi == one.psi
            },
        }
        return Health(
            digest=objects.put_json(record),
            customers=skew.customers,
            values=skew.values,
            pushed=skew.pushed,
            equal=agrees(skew, fresh=age.fresh),
            different="; ".join(skew.differing) or "none",
            low=", ".join(f"{name} {share:.1%}" for name, share in list(there.low.items())[:10]),
            fresh=age.fresh,
            age_days=round(days, 2),
            shifted=", ".join(f"{one.name} {one.psi:.2f}" for one in shifted[:10]),
        )
