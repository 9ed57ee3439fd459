"""Everything that an asset has ever made, and from what: references change, their history stays.

A reference (:mod:`churn_platform.records.refs`) is the present. Before it is set, the same record is appended to the
stream ``lineage``, so that what led to a model can be told after later months have replaced its inputs' references,
and after Dagster's event log has been archived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from churn_platform.records.events import append_now, read_events
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs

STREAM: Final = "lineage"
SCHEMA: Final = ("lineage", 1)
# What this version appends is newer than all that came before; a record without a time sorts first.
_NEVER: Final = "0000"


@dataclass(frozen=True)
class Made:
    """One thing that an asset made.

    Attributes:
        asset, partition: which; None for an asset without partitions.
        record: the reference as it was set.
    """

    asset: str
    partition: str | None
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``asset@partition``, or the asset's name."""
        return f"{self.asset}@{self.partition}" if self.partition else self.asset

    @property
    def digest(self) -> str:
        """Of the artifact."""
        return str(self.record["digest"])

    @property
    def made_at(self) -> str:
        """ISO 8601 in UTC: sorts as text."""
        return str(self.record.get("made_at", _NEVER))

    @property
    def when(self) -> datetime | None:
        """The same as a time."""
        return datetime.fromisoformat(self.made_at) if self.made_at != _NEVER else None

    @property
    def inputs(self) -> Mapping[str, str]:
        """Selector → digest (see :mod:`churn_platform.records.provenance`)."""
        found: Mapping[str, str] = self.record.get("inputs", {})
        return found

    @property
    def run_id(self) -> str | None:
        """Of the Dagster run."""
        found = self.record.get("run_id")
        return str(found) if found else None


def remember(home: Home, asset: str, records: Mapping[str | None, Mapping[str, Any]]) -> None:
    """Append what an asset has made, by partition; on disk when this returns."""
    append_now(
        home.events / STREAM,
        SCHEMA,
        [{"asset": asset, "partition": partition, "record": dict(record)} for partition, record in records.items()],
    )


class History:
    """The lineage of a home, read whole: some hundred bytes for each partition of each asset ever made."""

    def __init__(self, made: Sequence[Made]) -> None:
        self._made = sorted(made, key=lambda one: one.made_at)

    @classmethod
    def read(cls, home: Home) -> Self:
        """The stream, and the present references, which an older release may have set without it."""
        found = {(one.name, one.made_at, one.digest): one for one in (*_present(home.refs), *_kept(home))}
        return cls(list(found.values()))

    @cached_property
    def _by_asset(self) -> dict[str, list[Made]]:
        found: dict[str, list[Made]] = {}
        for one in self._made:
            found.setdefault(one.asset, []).append(one)
        return found

    def of(self, asset: str) -> list[Made]:
        """All that an asset has made, oldest first."""
        return list(self._by_asset.get(asset, ()))

    def find(self, asset: str, digest: str, *, partition: str | None = None, before: str | None = None) -> Made | None:
        """The newest record of an artifact that was there ``before`` a time; without one the oldest at all."""
        found = [one for one in self.of(asset) if one.digest == digest and one.partition == partition]
        earlier = [one for one in found if before is None or one.made_at <= before]
        return earlier[-1] if earlier else found[0] if found else None

    def state(self, asset: str, before: str) -> dict[str, Made]:
        """What each partition of an asset was at a time."""
        return {str(one.partition): one for one in self.of(asset) if one.partition and one.made_at <= before}


def _kept(home: Home) -> Iterator[Made]:
    for event in read_events(home.events / STREAM, SCHEMA[0], (SCHEMA[1],)):
        yield Made(event["asset"], event["partition"], event["record"])


def _present(root: Path) -> Iterator[Made]:
    refs = Refs(root)
    for asset in refs.assets():
        for partition in (*refs.partitions(asset), None):
            if (record := refs.find(asset, partition)) is not None:
                yield Made(asset, partition, record)
