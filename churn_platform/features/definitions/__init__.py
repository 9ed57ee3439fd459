"""The feature definitions, one module per family, written once as Ibis expressions."""

from __future__ import annotations

from churn_platform.errors import FeatureError
from churn_platform.features.available import Available
from churn_platform.features.definitions import attributes, billing, engagement, lifecycle, purchases, support, usage
from churn_platform.features.definitions.base import Definition, Family
from churn_platform.features.population import population_columns

FAMILIES: tuple[Family, ...] = (
    usage.FAMILY,
    purchases.FAMILY,
    lifecycle.FAMILY,
    billing.FAMILY,
    support.FAMILY,
    engagement.FAMILY,
    attributes.FAMILY,
)


def definitions_for(available: Available) -> tuple[Definition, ...]:
    """The definitions that this contract's tables and columns allow, by family; none that lacks an input.

    Raises:
        FeatureError: where two definitions have one name.
    """
    candidates = [one for family in FAMILIES for one in family.definitions(available)]
    names = [one.name for one in candidates]
    for name in names:
        if names.count(name) > 1:
            raise FeatureError(f"Two features are called {name}.", mend="Rename one of them.", field=name)
    have = set(population_columns(available)) | {one.name for one in candidates if one.table is not None}
    kept = [one for one in candidates if one.table is not None]
    waiting = [one for one in candidates if one.table is None]
    while ready := [one for one in waiting if have.issuperset(one.inputs)]:
        kept += ready
        have |= {one.name for one in ready}
        waiting = [one for one in waiting if one not in ready]
    needed = {name for one in kept for name in one.inputs}
    chosen = {one.name for one in kept if not one.hidden or one.name in needed}
    return tuple(one for one in candidates if one.name in chosen)
