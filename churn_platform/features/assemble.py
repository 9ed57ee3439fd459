"""Point-in-time assembly: one feature table per observation date, from what was known by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from churn_platform.features.available import Available
from churn_platform.features.blocked import blank, blocked_features, broken_columns, with_profile
from churn_platform.features.catalogue import VALUE_COLUMN
from churn_platform.features.engine import FeatureEngine, MonthInput, engine_of_settings, table_input
from churn_platform.features.expression import Query, tables_needed
from churn_platform.features.month import FeatureMonth, conform, version_of, write_table
from churn_platform.features.observation import instant
from churn_platform.features.snapshot import assemble_snapshot

if TYPE_CHECKING:
    from churn_platform.features.profile import ProfileModel
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract
    from churn_platform.sources.mutable import SnapshotLog
    from churn_platform.sources.tables import TableVersion

__all__ = ["FeatureMonth", "Progress", "assemble"]

Progress = Callable[[str, int, int], None]


def assemble(
    contract: Contract,
    versions: Mapping[str, Mapping[str, TableVersion]],
    observations: Sequence[str],
    *,
    store: ContentStore,
    progress: Progress | None = None,
    snapshots: SnapshotLog | None = None,
    since: Mapping[str, datetime] | None = None,
    generated: Sequence[str] = (),
    profile: ProfileModel | None = None,
    people_only: bool = False,
    engine: FeatureEngine | None = None,
) -> dict[str, FeatureMonth]:
    """Make the feature tables of the given observation dates.

    Args:
        contract: the source contract.
        versions: observation → table → what is known of that table by that observation date. Nothing else is
            read for that date: what is known later cannot leak.
        observations: the keys to make.
        store: holds the parts and takes the results.
        progress: called with (observation, done, all) after each.
        snapshots: what columns that are overwritten in place said; read for the tables of ``since`` only, for each
            observation date the newest one taken by then.
        since: see :meth:`Available.of`.
        generated: names of generated features to make beside the hand-made ones.
        profile: adds the anomaly score and the segment, which are functions of the other features.
        people_only: make only who is a customer, and their monthly revenue.
        engine: what computes; default: what the settings ask for.

    Returns:
        observation → the month. Rows are ordered by customer_id; the same input gives the same digest.

    Raises:
        FeatureError: where a version is missing or reaches past its observation date.
    """
    if contract.shape == "snapshot":
        made = assemble_snapshot(contract, versions, observations, store, people_only=people_only)
    else:
        query = Query(_available(contract, versions, since), tuple(generated), (VALUE_COLUMN,) if people_only else None)
        made = _relational(query, versions, observations, store, snapshots, profile, engine or engine_of_settings())
    done: dict[str, FeatureMonth] = {}
    for observation, month in made:
        done[observation] = month
        if progress is not None:
            progress(observation, len(done), len(observations))
    return done


def _available(
    contract: Contract, versions: Mapping[str, Mapping[str, TableVersion]], since: Mapping[str, datetime] | None
) -> Available:
    available = Available.of(contract, since)
    corrected = {name for known in versions.values() for name, version in known.items() if version.corrected}
    return replace(available, revised=available.revised | corrected)


def _relational(
    query: Query,
    versions: Mapping[str, Mapping[str, TableVersion]],
    observations: Sequence[str],
    store: ContentStore,
    snapshots: SnapshotLog | None,
    profile: ProfileModel | None,
    engine: FeatureEngine,
) -> Iterator[tuple[str, FeatureMonth]]:
    available, tables = query.available, tables_needed(query)
    features = [one.feature for one in query.definitions if not one.hidden]
    months, used, blocked = [], {}, {}
    for observation in observations:
        month = {table: version_of(versions, observation, table) for table in tables}
        seen = {
            table: snapshots.at(table, instant(observation)) if snapshots else None for table in available.overwritten
        }
        inputs = tuple(table_input(available, version, store, seen.get(table)) for table, version in month.items())
        months.append(MonthInput(observation, instant(observation), inputs))
        used[observation] = {
            **{table: store.put_json(version.to_json()) for table, version in month.items()},
            **{f"snapshots/{table}": taken.digest for table, taken in seen.items() if taken},
        }
        found = blocked_features(query.definitions, available, observation, broken_columns(available, month.values()))
        blocked[observation] = with_profile(found, profile) if profile is not None else found
    for observation, rows in engine.run(query, months, store):
        table = conform(rows, features)
        if profile is not None:
            table = profile.append(table)
        table = blank(table, blocked[observation], versions[observation].values(), store)
        yield (
            observation,
            FeatureMonth(
                observation=observation,
                digest=write_table(table, store),
                rows=table.num_rows,
                versions_used=used[observation],
                blocked={name: one.why for name, one in blocked[observation].items()},
            ),
        )
