"""A column that cannot be trusted takes with it the features that read it, and no others: of the customers who have
rows in the months in which it broke, as long as the feature looks back to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from churn_platform.features.definitions.base import Definition
from churn_platform.features.engine import parts_read
from churn_platform.features.lookback import lookback_days
from churn_platform.features.merged import MERGED
from churn_platform.features.observation import instant
from churn_platform.features.population import CHANGE_DAYS, PRIMARY, SUMMED

if TYPE_CHECKING:
    from churn_platform.features.available import Available
    from churn_platform.features.profile import ProfileModel
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.tables import TableVersion

UNDECLARED = {
    "orders": ("quantity", "unit_price", "amount", "order_id"),
    "interventions": ("delivered_at", "arm"),
}
"""Columns that decide which rows of a table count, for every feature of it."""


@dataclass(frozen=True)
class Broken:
    """A column that is unusable in one part of a table.

    Attributes:
        known_by, digest: of the part.
        why: what is wrong with it.
    """

    table: str
    column: str
    known_by: str
    digest: str
    why: str


@dataclass(frozen=True)
class Blocked:
    """A feature that cannot be trusted for some customers.

    Attributes:
        why: the column and what is wrong with it, for people.
        parts: digests of the parts: who has a row in one of them is concerned.
    """

    why: str
    parts: frozenset[str]


def broken_columns(available: Available, versions: Iterable[TableVersion]) -> tuple[Broken, ...]:
    """The columns that are unusable in a part that is read at the versions' observation date."""
    return tuple(
        Broken(version.table, column, part.known_by, part.digest, f"{reason} (rows known by {part.known_by})")
        for version in versions
        for part in parts_read(available, version)
        for column, reason in part.blocked
    )


def blocked_features(
    definitions: Sequence[Definition], available: Available, observation: str, broken: Sequence[Broken]
) -> dict[str, Blocked]:
    """The features, by name, that read such a column, themselves or through others. Hidden steps are not listed, what
    follows from them is."""
    if not broken:
        return {}
    found: dict[str, Blocked] = {}

    def add(name: str, why: str, parts: Iterable[str]) -> bool:
        before = found.get(name)
        parts = frozenset(parts) | (before.parts if before else frozenset())
        if before is not None and before.parts == parts:
            return False
        found[name] = Blocked(before.why if before else why, parts)
        return True

    for one in definitions:
        if one.table is None:
            continue
        read = {*one.columns, *one.newest, *UNDECLARED.get(one.table, ())}
        hurt = [each for each in broken if each.table == one.table and each.column in read]
        for each in _in_reach(one, available, observation, hurt):
            add(one.name, each.why, [each.digest])
    for column, name in _contract_columns():
        for each in broken:
            if (each.table, each.column) == ("subscriptions", column):
                add(name, each.why, [each.digest])
    spreading = True
    while spreading:
        spreading = False
        for one in definitions:
            for cause in [name for name in one.inputs if name in found and name != one.name]:
                spreading |= add(one.name, found[cause].why, found[cause].parts)
    return {one.name: found[one.name] for one in definitions if one.name in found and not one.hidden}


def with_profile(found: Mapping[str, Blocked], profile: ProfileModel) -> dict[str, Blocked]:
    """What is blocked, with the profile's features where it reads one of them."""
    from churn_platform.features.profile import PROFILE_FEATURES

    causes = [found[name] for name in profile.scaling.names if name in found]
    if not causes:
        return dict(found)
    whole = Blocked(causes[0].why, frozenset().union(*(cause.parts for cause in causes)))
    return {**found, **{feature.name: whole for feature in PROFILE_FEATURES}}


def blank(table: Any, blocked: Mapping[str, Blocked], versions: Iterable[TableVersion], store: ContentStore) -> Any:
    """The Arrow table with these features null for the customers concerned: a sum over half a month would look like a
    decline."""
    import pyarrow as pa
    import pyarrow.compute as pc

    concerned: dict[frozenset[str], Any] = {}
    survivors = _survivors(versions, store) if blocked else {}
    for name, one in blocked.items():
        if one.parts not in concerned:
            people = _customers(one.parts, store)
            people |= {survivors[each] for each in people if each in survivors}
            concerned[one.parts] = pc.is_in(table["customer_id"], value_set=pa.array(sorted(people), pa.string()))
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        kept = pc.if_else(concerned[one.parts], pa.scalar(None, field.type), table.column(place))
        table = table.set_column(place, field, kept)
    return table


def _in_reach(one: Definition, available: Available, observation: str, broken: Sequence[Broken]) -> list[Broken]:
    """Those in parts that the feature's window can still see. An event inside it may have been known before it
    happened, by as much as the door allows."""
    if not broken:
        return []
    days = lookback_days(one, available)
    if days is None:
        return list(broken)
    oldest = instant(observation) - timedelta(days=days + available.lead_days[str(one.table)])
    return [each for each in broken if instant(each.known_by) > oldest]


def _customers(parts: Iterable[str], store: ContentStore) -> set[str]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = [pq.read_table(store.path(digest), columns=["customer_id"])["customer_id"] for digest in sorted(parts)]
    return {each for column in columns for each in pc.unique(column).to_pylist()}


def _survivors(versions: Iterable[TableVersion], store: ContentStore) -> dict[str, str]:
    """Merged account → the account that has its rows now, the last one where several follow each other."""
    import pyarrow.parquet as pq

    into: dict[str, str] = {}
    for version in versions:
        for part in version.parts if version.table == "accounts" else ():
            file = store.path(part.digest)
            if MERGED in pq.read_schema(file).names:
                read = pq.read_table(file, columns=["customer_id", MERGED]).to_pylist()
                into |= {row["customer_id"]: row[MERGED] for row in read if row[MERGED] is not None}
    found = {}
    for account in into:
        seen, last = {account}, into[account]
        while last in into and last not in seen:
            seen.add(last)
            last = into[last]
        found[account] = last
    return found


def _contract_columns() -> list[tuple[str, str]]:
    """(column of subscriptions, column of the customer's row that is made of it). The largest subscription, which says
    the plan, is the one with the highest revenue."""
    summed = [(name, made) for name in SUMMED for made in (name, *(f"{name}_{days}d_ago" for days in CHANGE_DAYS))]
    return [*summed, *((name, name) for name in (*PRIMARY, "renews_at")), *(("mrr", name) for name in PRIMARY)]
