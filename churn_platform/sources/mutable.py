"""Snapshots of what is overwritten in place: its past begins on the day it was first looked at.

Every admission of a table with ``current_only`` columns keeps what they said, under pseudonyms, in the content store,
and enters it into the table's log. What they said at ``t`` is the newest snapshot taken at or before ``t``; before the
first one nobody knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform import clock
from churn_platform.records.refs import Refs
from churn_platform.sources.engine import literal, quote
from churn_platform.sources.tables import observation_time

if TYPE_CHECKING:
    import duckdb

    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract, Table
    from churn_platform.sources.staging import Plan

SCHEMA = "mutable-snapshot/1"
ENOUGH_DATES = 3
"""A column becomes a feature once this many observation dates have a snapshot: with fewer, a model would meet in
service what it has hardly seen in training."""


@dataclass(frozen=True)
class Snapshot:
    """What the ``current_only`` columns of a table said at one time.

    Args:
        table: its name.
        taken_at: naive UTC; what is known from then on.
        digest: of the Parquet file in the store: ``row_id``, ``customer_id`` and the columns.
        rows: rows inside.
        columns: the columns inside, by their canonical names.
        number: counts the snapshots with the same ``taken_at``; the greatest is the newest.
    """

    table: str
    taken_at: datetime
    digest: str
    rows: int
    columns: tuple[str, ...]
    number: int = 0

    @property
    def key(self) -> str:
        """Its name in the log; keys sort by time."""
        return f"{self.taken_at:%Y-%m-%dT%H:%M:%S.%f}-{self.number:04d}"

    def to_json(self) -> dict[str, Any]:
        """The log's entry."""
        return {
            "schema": SCHEMA,
            "table": self.table,
            "taken_at": self.taken_at.isoformat(),
            "number": self.number,
            "digest": self.digest,
            "rows": self.rows,
            "columns": list(self.columns),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Snapshot:
        """The inverse of :meth:`to_json`."""
        return cls(
            table=str(value["table"]),
            taken_at=datetime.fromisoformat(str(value["taken_at"])),
            digest=str(value["digest"]),
            rows=int(value["rows"]),
            columns=tuple(str(name) for name in value["columns"]),
            number=int(value.get("number", 0)),
        )


class SnapshotLog:
    """The snapshots of every table of a home, oldest first: entries are added, never changed.

    Each entry is one reference (``snapshots/<table>``), so that it is written whole or not at all, and what it names is
    kept with everything else that is referred to.
    """

    def __init__(self, refs: Refs) -> None:
        self._refs = refs

    def entries(self, table: str) -> tuple[Snapshot, ...]:
        """All of a table's snapshots, oldest first."""
        asset = f"snapshots/{table}"
        return tuple(Snapshot.from_json(self._refs.get(asset, key)) for key in self._refs.partitions(asset))

    def first(self, table: str) -> Snapshot | None:
        """The oldest; None before the first load."""
        return next(iter(self.entries(table)), None)

    def at(self, table: str, moment: datetime) -> Snapshot | None:
        """The newest snapshot taken at or before a moment (naive UTC); None where there is none."""
        return next((one for one in reversed(self.entries(table)) if one.taken_at <= moment), None)

    def add(self, snapshot: Snapshot) -> Snapshot | None:
        """Enter a snapshot.

        Returns:
            It, as entered; None where it adds nothing: the newest one says the same, or is younger. Nothing is entered
            into the past: what is there today was not known then.
        """
        entries = self.entries(snapshot.table)
        number = 0
        if entries:
            newest = entries[-1]
            if newest.digest == snapshot.digest or newest.taken_at > snapshot.taken_at:
                return None
            number = newest.number + 1 if newest.taken_at == snapshot.taken_at else 0
        entered = Snapshot(**{**vars(snapshot), "number": number})
        self._refs.set(f"snapshots/{entered.table}", entered.key, entered.to_json())
        return entered


def mutable_columns(table: Table) -> tuple[str, ...]:
    """The columns of a table that are overwritten in place."""
    return tuple(name for name, column in table.columns.items() if column.temporality == "current_only")


def take_snapshot(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    staged: str,
    *,
    store: ContentStore,
    log: SnapshotLog,
    as_of: datetime,
) -> Snapshot | None:
    """Keep what the mutable columns of a staged table say, and enter it into the log.

    Args:
        staged: its clean rows, each once.
        as_of: the calendar's newest time (naive UTC): a present set to before it would claim that today's values were
            known earlier.

    Returns:
        The snapshot; None where the table has no mutable column, or nothing is new.
    """
    if not plan.mutable:
        return None
    fields = ["lpad(lower(hex(rid)), 16, '0') AS row_id", "customer_id"]
    fields += [f"{column.alias} AS {quote(column.name)}" for column in plan.mutable]
    with store.temporary() as path:
        written = connection.execute(
            f"COPY (SELECT {', '.join(fields)} FROM {staged} ORDER BY rid) TO {literal(str(path))} "
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
        ).fetchone()
        digest = store.put_file(path, move=True)
    taken_at = max(clock.now().replace(tzinfo=None), as_of)
    names = tuple(column.name for column in plan.mutable)
    return log.add(Snapshot(plan.name, taken_at, digest, int(written[0]) if written else 0, names))


def mutable_digests(since: Mapping[str, datetime]) -> dict[str, str]:
    """The inputs by which features are known to have been made with snapshots: ``snapshots:<table>`` → a digest.

    Later snapshots change no earlier observation date, so that only the first one counts.
    """
    return {
        f"snapshots:{table}": hashlib.sha256(moment.isoformat().encode()).hexdigest() for table, moment in since.items()
    }


def usable_since(contract: Contract, log: SnapshotLog, observations: Iterable[str]) -> dict[str, datetime]:
    """Tables whose mutable columns may be features, each with the time of its first snapshot (naive UTC).

    Args:
        observations: all observation dates that the source has.
    """
    found = {}
    keys: Sequence[str] = tuple(observations)
    for name, table in contract.tables.items():
        if contract.shape == "snapshot" or not mutable_columns(table) or (first := log.first(name)) is None:
            continue
        if sum(observation_time(key) >= first.taken_at for key in keys) >= ENOUGH_DATES:
            found[name] = first.taken_at
    return found
