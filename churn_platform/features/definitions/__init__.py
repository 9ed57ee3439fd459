"""The feature definitions, one module per family, written once as Ibis expressions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

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


def definitions_for(available: Available, generated: Sequence[str] = ()) -> tuple[Definition, ...]:
    """The definitions that this contract's tables and columns allow, by family; none that lacks an input.

    Args:
        generated: names of generated features (:mod:`~churn_platform.features.candidates`) to make as well. A name
            that the contract does not allow any more is left out.

    Raises:
        FeatureError: where two definitions have one name.
    """
    made = [one for family in FAMILIES for one in family.definitions(available)]
    names = [one.name for one in made]
    for name in names:
        if names.count(name) > 1:
            raise FeatureError(f"Two features are called {name}.", mend="Rename one of them.", field=name)
    made = list(_possible(made, available))
    if generated:
        from churn_platform.features.candidates import candidate_definitions

        wanted = set(generated)
        pool = candidate_definitions(available, made)
        asked = {one.name for one in pool if one.name in wanted}
        made += [one if one.name in asked else replace(one, hidden=True) for one in pool]
    asked = {one.name for one in made if not one.hidden}
    return narrowed(made, asked)


def narrowed(definitions: Sequence[Definition], names: Collection[str]) -> tuple[Definition, ...]:
    """The named definitions and, as hidden steps, what they need of the others; in the given order."""
    by_name = {one.name: one for one in definitions}
    needed: set[str] = set()
    waiting = [name for name in names if name in by_name]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [other for other in by_name[name].inputs if other in by_name and other != name]
    shown = set(names)
    return tuple(one if one.name in shown else replace(one, hidden=True) for one in definitions if one.name in needed)


def _possible(candidates: Sequence[Definition], available: Available) -> Iterator[Definition]:
    """Those of which every input can be made."""
    have = set(population_columns(available)) | {one.name for one in candidates if one.table is not None}
    waiting = [one for one in candidates if one.table is None]
    while ready := [one for one in waiting if have.issuperset(one.inputs)]:
        have |= {one.name for one in ready}
        waiting = [one for one in waiting if one not in ready]
    lacking = {one.name for one in waiting}
    return (one for one in candidates if one.table is not None or one.name not in lacking)
