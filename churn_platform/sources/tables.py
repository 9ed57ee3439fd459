"""What a cleaned table was at an observation date: a list of immutable, content-addressed parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore

SCHEMA = "table-version/1"
BLOCKED = "blocked "
SNAPSHOT = "snapshot"
"""The one observation key of the snapshot shape."""
SNAPSHOT_AS_OF = datetime(2000, 1, 1)  # noqa: DTZ001 - times in tables are naive UTC
"""A flat file makes no claim about time: its rows carry this fixed instant, so that digests stay the same."""
PASSED_COLUMNS = ("customer_id", "row_id", "event_time", "ingested_at")
"""The columns that every cleaned table begins with."""
LABEL_COLUMN = "label_raw"
"""The snapshot shape's label as the company writes it (text). Never a feature."""

RESERVED = (*PASSED_COLUMNS, LABEL_COLUMN, "event_timestamp", "created_timestamp")
"""Names that cleaned tables and feature tables give columns of their own: no column of a company's may have them."""


def observation_time(observation: str) -> datetime:
    """The instant (naive UTC) of an observation key.

    Raises:
        ValueError: where the key is neither ``YYYY-MM-DD`` nor ``snapshot``.
    """
    if observation == SNAPSHOT:
        return SNAPSHOT_AS_OF
    day = date.fromisoformat(observation)
    if day.isoformat() != observation:  # Python also reads 20240301 and 2024-W09-5
        raise ValueError(f"{observation!r} is not of the form YYYY-MM-DD")
    return datetime.combine(day, time.min)


@dataclass(frozen=True, slots=True)
class TablePart:
    """The revisions of a table that became known in one calendar month, as one Parquet object.

    Args:
        known_by: the first instant of the next month: every revision inside has ``ingested_at <= known_by``.
        digest: SHA-256 of the Parquet file, its key in the content store.
        rows: revisions inside.
        corrected: whether some of them correct a row that was known before.
        blocked: (column, reason) of each column that is unusable in this part: it is null there.
    """

    known_by: str
    digest: str
    rows: int
    corrected: bool = False
    blocked: tuple[tuple[str, str], ...] = ()

    @property
    def marks(self) -> list[str]:
        """What else there is to say of it, as texts."""
        return [*(["corrected"] if self.corrected else []), *(f"{BLOCKED}{c}: {why}" for c, why in self.blocked)]


@dataclass(frozen=True, slots=True)
class TableVersion:
    """All that is known of one table by one observation date. It has at least one part, which may be
    empty."""

    table: str
    observation: str
    parts: tuple[TablePart, ...]

    @property
    def rows(self) -> int:
        """Revisions in all parts together."""
        return sum(part.rows for part in self.parts)

    @property
    def corrected(self) -> bool:
        """Whether a row may have several revisions although no column is known later than its row."""
        return any(part.corrected for part in self.parts)

    def paths(self, store: ContentStore) -> list[Path]:
        """The Parquet files, oldest part first; all have the same columns and types.

        Raises:
            ArtifactMissingError: where a part is not in the store.
        """
        return [store.path(part.digest) for part in self.parts]

    def to_json(self) -> dict[str, Any]:
        """A plain JSON value; its digest in the store is the data version."""
        return {
            "schema": SCHEMA,
            "table": self.table,
            "observation": self.observation,
            "parts": [[part.known_by, part.digest, part.rows, *part.marks] for part in self.parts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: for a record of another schema.
        """
        if value.get("schema") != SCHEMA:
            raise ValueError(f"expected a {SCHEMA} record, not {value.get('schema')!r}")
        return cls(
            table=str(value["table"]),
            observation=str(value["observation"]),
            parts=tuple(_part(*part) for part in value["parts"]),
        )


def _part(known_by: str, digest: str, rows: int, *marks: str) -> TablePart:
    blocked = [mark.removeprefix(BLOCKED).partition(": ") for mark in marks if mark.startswith(BLOCKED)]
    return TablePart(
        known_by, digest, int(rows), "corrected" in marks, tuple((column, why) for column, _, why in blocked)
    )
