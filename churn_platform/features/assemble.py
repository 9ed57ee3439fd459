"""Point-in-time assembly: one feature table per observation date, from what was known by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from churn_platform.features.available import Available
from churn_platform.features.catalogue import catalogue_for
from churn_platform.features.expression import feature_sql, tables_needed
from churn_platform.features.month import FeatureMonth, conform, finite, version_of, write_table
from churn_platform.features.observation import instant
from churn_platform.features.snapshot import assemble_snapshot
from churn_platform.sources.engine import engine, literal, quote

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract
    from churn_platform.sources.mutable import Snapshot, SnapshotLog
    from churn_platform.sources.tables import TableVersion

__all__ = ["FeatureMonth", "Progress", "assemble"]

Progress = Callable[[str, int, int], None]
DUCKDB_TYPES = {
    "float64": "DOUBLE",
    "int64": "BIGINT",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp(6)": "TIMESTAMP",
}


def assemble(
    contract: Contract,
    versions: Mapping[str, Mapping[str, TableVersion]],
    observations: Sequence[str],
    *,
    store: ContentStore,
    progress: Progress | None = None,
    snapshots: SnapshotLog | None = None,
    since: Mapping[str, datetime] | None = None,
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

    Returns:
        observation → the month. Rows are ordered by customer_id; the same input gives the same digest.

    Raises:
        FeatureError: where a version is missing or reaches past its observation date.
    """
    if contract.shape == "snapshot":
        made = assemble_snapshot(contract, versions, observations, store)
    else:
        made = _relational(contract, versions, observations, store, snapshots, since)
    done: dict[str, FeatureMonth] = {}
    for observation, month in made:
        done[observation] = month
        if progress is not None:
            progress(observation, len(done), len(observations))
    return done


def _relational(
    contract: Contract,
    versions: Mapping[str, Mapping[str, TableVersion]],
    observations: Sequence[str],
    store: ContentStore,
    snapshots: SnapshotLog | None,
    since: Mapping[str, datetime] | None,
) -> Iterator[tuple[str, FeatureMonth]]:
    available = Available.of(contract, since)
    corrected = {name for known in versions.values() for name, version in known.items() if version.corrected}
    available = replace(available, revised=available.revised | corrected)
    tables = tables_needed(available)
    features = catalogue_for(contract, since)
    sql = feature_sql(available)
    with engine(store.root / "tmp") as duck:
        for observation in observations:
            month = {table: version_of(versions, observation, table) for table in tables}
            seen = {
                table: snapshots.at(table, instant(observation)) if snapshots else None
                for table in available.overwritten
            }
            for table, version in month.items():
                duck.execute(raw_view(available, version, store, seen.get(table)))
            rows = duck.execute(sql).to_arrow_table()
            yield (
                observation,
                FeatureMonth(
                    observation=observation,
                    digest=write_table(conform(rows, features), store),
                    rows=rows.num_rows,
                    versions_used={
                        **{table: store.put_json(version.to_json()) for table, version in month.items()},
                        **{f"snapshots/{table}": taken.digest for table, taken in seen.items() if taken},
                    },
                ),
            )


def raw_view(available: Available, version: TableVersion, store: ContentStore, snapshot: Snapshot | None = None) -> str:
    """SQL that binds a table's name to the parts of a version that can matter at its observation date.

    Parts are pruned by the table's reach; every row gets the instant ``t``; what is not finite becomes null.

    Args:
        snapshot: what the columns that are overwritten in place said at ``t``; without one they are null.
    """
    moment = instant(version.observation)
    parts = version.parts
    reach = available.reach(version.table)
    if reach is not None:
        # an event inside the reach may have been known before it happened, by as much as the door allows
        oldest = moment - timedelta(days=reach + available.lead_days[version.table])
        parts = tuple(part for part in parts if instant(part.known_by) > oldest)
    types = {name: DUCKDB_TYPES[kind] for name, kind in available.schema(version.table).items() if name != "t"}
    paths = [str(store.path(part.digest)) for part in parts if part.rows]
    overwritten = available.overwritten.get(version.table, ())
    seen = set(snapshot.columns) & set(overwritten) if snapshot else set()

    def column(name: str, kind: str) -> str:
        if not paths or (name in overwritten and name not in seen):
            return f"NULL::{kind} AS {quote(name)}"
        return f"{_read(name, kind)} AS {quote(name)}"

    columns = ", ".join(column(name, kind) for name, kind in types.items())
    source = f"FROM read_parquet([{', '.join(literal(path) for path in paths)}])" if paths else "WHERE false"
    if paths and seen and snapshot:
        kept = ", ".join(["row_id", *(quote(name) for name in snapshot.columns if name in seen)])
        taken = literal(str(store.path(snapshot.digest)))
        source += f" LEFT JOIN (SELECT {kept} FROM read_parquet({taken})) USING (row_id)"
    return (
        f"CREATE OR REPLACE TEMP VIEW {quote(version.table)} AS "
        f"SELECT {columns}, TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}' AS t {source}"
    )


def _read(name: str, kind: str) -> str:
    value = f"CAST({quote(name)} AS {kind})"
    return finite(value) if kind == "DOUBLE" else value
