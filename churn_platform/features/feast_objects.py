"""The Feast objects of a catalogue: an entity, a source, a view per family, a feature service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.features import feast_postgres
from churn_platform.features.catalogue import VALUE_COLUMN, Feature, catalogue_from_json, families
from churn_platform.features.snapshot import FAMILY as SNAPSHOT_FAMILY
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.records.home import Home

PROJECT = "churn"
ENTITY = "customer"
JOIN_KEY = "customer_id"
# The reference under which the current catalogue is found in ``home.refs``.
CATALOGUE_REF = "feature_catalogue"
SERVICES_REF = "feature_services"
KEPT_SERVICES = 10
# Monthly revenue where it is no feature: it is served beside the features.
VALUE_VIEW = "value"
# A month's features serve until the next month's are there, with two weeks for a late run; then they are
# stale.
TTL = timedelta(days=45)


@dataclass(frozen=True)
class FeastObjects:
    """What ``apply`` registers. ``views`` are in catalogue order; a home without a catalogue has none.

    Attributes:
        service: all features.
        services: that one, then one for each model version that is kept.
    """

    entity: Any
    source: Any
    views: tuple[Any, ...]
    service: Any
    services: tuple[Any, ...] = ()

    def all(self) -> list[Any]:
        """Everything there is, in the order in which Feast wants to register it."""
        return [one for one in (self.entity, self.source, *self.views, *self.services) if one is not None]


def service_name(problem: str, version: str | None = None) -> str:
    """The feature service of a problem: ``churn``, or ``churn_<problem>`` for a problem of another name; of a model
    version ``churn_v3``."""
    name = problem if problem.startswith("churn") else f"churn_{problem}"
    return name if version is None else f"{name}_v{version}"


def offline_folder(home: Home) -> Path:
    """The folder of monthly Parquet files that Feast's offline store reads."""
    return home.feast / "offline" / "customer_features"


def current_catalogue(home: Home) -> tuple[Feature, ...]:
    """The catalogue of the features that this home holds; empty where none were made yet."""
    from churn_platform.records.refs import Refs
    from churn_platform.records.store import ContentStore

    reference = Refs(home.refs).find(CATALOGUE_REF)
    if reference is None:
        return ()
    return catalogue_from_json(ContentStore(home.store).read_json(reference["digest"]))


def model_services(home: Home) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Model version → the features it reads, oldest first, of the versions whose services are kept."""
    from churn_platform.records.refs import Refs
    from churn_platform.records.store import ContentStore

    reference = Refs(home.refs).find(SERVICES_REF)
    if reference is None:
        return ()
    found = ContentStore(home.store).read_json(reference["digest"])["services"]
    return tuple((version, tuple(names)) for version, names in found)


def remember_model_service(home: Home, version: str, features: Sequence[str]) -> None:
    """Keep which features a model version reads; the newest ``KEPT_SERVICES`` versions are kept."""
    from churn_platform.records.refs import Refs
    from churn_platform.records.store import ContentStore

    others = [[known, list(names)] for known, names in model_services(home) if known != version]
    services = [*others, [version, list(features)]][-KEPT_SERVICES:]
    digest = ContentStore(home.store).put_json({"schema": "feature_services/1", "services": services})
    Refs(home.refs).set(SERVICES_REF, None, {"digest": digest})


def current_objects(home: Home | None = None) -> FeastObjects:
    """The Feast objects of the home's current catalogue; for one catalogue always the same instances."""
    from churn_platform.records.home import Home

    home = home or Home.open()
    now = settings()
    return _cached(current_catalogue(home), offline_folder(home), now.problem, model_services(home), now.offline_store)


def feast_objects(
    features: Sequence[Feature],
    folder: Path,
    problem: str,
    models: Sequence[tuple[str, tuple[str, ...]]] = (),
    offline: str = "duckdb",
) -> FeastObjects:
    """Build the Feast objects.

    Args:
        features: the catalogue.
        folder: of the monthly Parquet files; see :func:`offline_folder`.
        problem: names the feature service.
        models: version and features of the models that get a service of their own; one that reads what the catalogue
            no longer has gets none.
        offline: where the history is read: ``duckdb`` or ``postgres``.
    """
    import feast
    from feast.types import Float64, String

    entity = feast.Entity(
        name=ENTITY,
        join_keys=[JOIN_KEY],
        value_type=feast.ValueType.STRING,
        description="A customer under the pseudonym that the identity vault gave.",
    )
    if not features:
        return FeastObjects(entity=entity, source=None, views=(), service=None)
    source = feast_postgres.source() if offline == "postgres" else _files(folder)
    snapshot = all(feature.family == SNAPSHOT_FAMILY for feature in features)
    fields = {
        family: [
            feast.Field(
                name=feature.name,
                dtype=Float64 if feature.kind == "number" else String,
                description=feature.label,
                tags={"unit": feature.unit, "null_policy": feature.null_policy},
            )
            for feature in members
        ]
        for family, members in families(features).items()
    }
    if all(feature.name != VALUE_COLUMN for feature in features):
        fields[VALUE_VIEW] = [feast.Field(name=VALUE_COLUMN, dtype=Float64, description="monthly revenue")]
    views = tuple(
        feast.FeatureView(
            name=family,
            entities=[entity],
            schema=[feast.Field(name=JOIN_KEY, dtype=String), *members],
            source=source,
            ttl=timedelta(0) if snapshot else TTL,
            online=True,
            description=f"Features of the family {family}.",
        )
        for family, members in fields.items()
    )
    service = feast.FeatureService(
        name=service_name(problem), features=list(views), description="All features of the current catalogue."
    )
    services = [service]
    for version, names in models:
        chosen = [(view, [field.name for field in view.features if field.name in names]) for view in views]
        if sum(len(members) for _, members in chosen) == len(set(names)) > 0:
            services.append(
                feast.FeatureService(
                    name=service_name(problem, version),
                    features=[view[members] for view, members in chosen if members],
                    description=f"What version {version} of the model reads.",
                )
            )
    return FeastObjects(entity=entity, source=source, views=views, service=service, services=tuple(services))


def _files(folder: Path) -> Any:
    import feast
    from feast.data_format import ParquetFormat

    return feast.FileSource(
        name=feast_postgres.TABLE,
        path=str(folder / "*.parquet"),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description="One Parquet file per observation date, hard-linked from the content store.",
    )


_cached = lru_cache(maxsize=4)(feast_objects)
