"""The seam between what features are and what computes them: inputs of a month, and the engine that the settings ask
for (``CHURN_FEATURE_ENGINE``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from churn_platform.features.observation import instant
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.features.available import Available
    from churn_platform.features.expression import Query
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.mutable import Snapshot
    from churn_platform.sources.tables import TableVersion


@dataclass(frozen=True)
class TableInput:
    """What an engine binds a table's name to, for one observation date.

    Attributes:
        table: its name in the expression.
        columns: (name, Ibis type) of each column, without the instant ``t``, which the engine adds.
        paths: the Parquet parts; none: the table is empty.
        absent: columns that nobody knows at ``t``: null.
        seen: columns read from ``snapshot`` (joined by ``row_id``): what is overwritten in place.
    """

    table: str
    columns: tuple[tuple[str, str], ...]
    paths: tuple[str, ...]
    absent: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    snapshot: str | None = None


@dataclass(frozen=True)
class MonthInput:
    """All tables of one observation date; ``moment`` is its instant t (naive UTC)."""

    observation: str
    moment: datetime
    tables: tuple[TableInput, ...]


class FeatureEngine(Protocol):
    """Computes a query over the tables of each month."""

    def run(self, query: Query, months: Sequence[MonthInput], store: ContentStore) -> Iterator[tuple[str, Any]]:
        """(observation, Arrow table) of each month, in their order; rows ordered by customer_id."""


def engine_of_settings() -> FeatureEngine:
    """DuckDB in this process, or Spark in an environment of its own.

    Raises:
        MissingDependencyError: Spark is asked for, and its environment or Java is not there.
    """
    if settings().feature_engine == "spark":
        from churn_platform.features.engine_spark import SparkEngine

        return SparkEngine.of_settings()
    from churn_platform.features.engine_duckdb import DuckEngine

    return DuckEngine()


def table_input(
    available: Available, version: TableVersion, store: ContentStore, snapshot: Snapshot | None = None
) -> TableInput:
    """The parts of a version that can matter at its observation date: pruned by the table's reach.

    Args:
        snapshot: what the columns that are overwritten in place said at ``t``; without one they are null.
    """
    overwritten = available.overwritten.get(version.table, ())
    seen = tuple(name for name in snapshot.columns if name in overwritten) if snapshot else ()
    return TableInput(
        table=version.table,
        columns=tuple((name, kind) for name, kind in available.schema(version.table).items() if name != "t"),
        paths=tuple(str(store.path(part.digest)) for part in parts_read(available, version) if part.rows),
        absent=tuple(name for name in overwritten if name not in seen),
        seen=seen,
        snapshot=str(store.path(snapshot.digest)) if snapshot and seen else None,
    )


def parts_read(available: Available, version: TableVersion) -> tuple[Any, ...]:
    """The parts inside the table's reach: an event inside it may have been known before it happened, by as much as
    the door allows."""
    reach = available.reach(version.table)
    if reach is None:
        return version.parts
    oldest = instant(version.observation) - timedelta(days=reach + available.lead_days[version.table])
    return tuple(part for part in version.parts if instant(part.known_by) > oldest)
