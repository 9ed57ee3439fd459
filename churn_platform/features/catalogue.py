"""The catalogue: what each feature means, in words for people and in facts for machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from churn_platform.errors import FeatureError

if TYPE_CHECKING:
    from churn_platform.sources.contract import Contract

# The columns of a feature table that are not features, before the features in this order.
FIXED_COLUMNS = ("customer_id", "event_timestamp", "created_timestamp")
# Monthly revenue is always in the table: it weighs losses even where it is no feature.
VALUE_COLUMN = "mrr"
# Families that are made for a whole month at once, and never pushed.
BATCH_FAMILIES = ("profile",)


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        name: snake_case column name, such as ``logins_30d``.
        family: the Feast feature view it belongs to.
        kind: ``number`` (float64, null for unknown) or ``category`` (text, null for unknown).
        label: plain words for people, such as "logins in the last 30 days".
        unit: what one unit of the number is; empty for categories.
        description: the meaning and the grain.
        null_policy: what an empty history or an unknown value becomes.
        decimals: digits after the point when shown to people.
    """

    name: str
    family: str
    kind: Literal["number", "category"]
    label: str
    unit: str
    description: str
    null_policy: str
    decimals: int


def catalogue_for(
    contract: Contract,
    since: Mapping[str, datetime] | None = None,
    *,
    generated: Sequence[str] = (),
    profile: bool = False,
) -> tuple[Feature, ...]:
    """The features that exist for the tables and columns of this contract, in the order of their columns.

    Args:
        since: tables of which snapshots may be read, and from when on they exist
            (``sources.mutable.usable_since``): their columns that are overwritten in place are features too.
        generated: names of generated features that are made as well.
        profile: whether the anomaly score and the segment are.

    Raises:
        FeatureError: where two columns of the contract would make features of one name.
    """
    from churn_platform.features.available import Available
    from churn_platform.features.definitions import definitions_for
    from churn_platform.features.snapshot import snapshot_catalogue

    if contract.shape == "snapshot":
        return snapshot_catalogue(contract)
    from churn_platform.features.profile import PROFILE_FEATURES

    definitions = definitions_for(Available.of(contract, since), generated)
    made = tuple(definition.feature for definition in definitions if not definition.hidden)
    return (*made, *(PROFILE_FEATURES if profile else ()))


def on_push_path(feature: Feature) -> bool:
    """Whether a pushed row may carry the feature: what is fitted on whole months (:mod:`.profile`) comes in batches."""
    return feature.family not in BATCH_FAMILIES


def families(features: Iterable[Feature]) -> dict[str, tuple[Feature, ...]]:
    """Features by family, in catalogue order."""
    grouped: dict[str, list[Feature]] = {}
    for feature in features:
        grouped.setdefault(feature.family, []).append(feature)
    return {family: tuple(members) for family, members in grouped.items()}


def table_columns(features: Sequence[Feature]) -> tuple[str, ...]:
    """The columns of the feature table of this catalogue, in order."""
    names = [feature.name for feature in features]
    value = () if VALUE_COLUMN in names else (VALUE_COLUMN,)
    return (*FIXED_COLUMNS, *value, *names)


def catalogue_to_json(features: Iterable[Feature]) -> dict[str, Any]:
    """The catalogue as a JSON object ``{"schema": "feature_catalogue/1", "features": [...]}``."""
    return {"schema": "feature_catalogue/1", "features": [asdict(feature) for feature in features]}


def catalogue_from_json(value: Mapping[str, Any]) -> tuple[Feature, ...]:
    """The catalogue from what :func:`catalogue_to_json` made; fields that a newer release added are ignored.

    Raises:
        FeatureError: where a feature lacks a field.
    """
    known = [field.name for field in fields(Feature)]
    try:
        return tuple(Feature(**{name: row[name] for name in known}) for row in value["features"])
    except (KeyError, TypeError) as error:
        raise FeatureError(
            f"The stored feature catalogue is incomplete: {error}.",
            mend="Materialize customer_features again.",
        ) from error
