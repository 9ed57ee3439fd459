"""Is what is served there, and new enough? Availability and freshness of the features that are online."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from churn_platform import clock
from churn_platform.features.feast_objects import JOIN_KEY, offline_folder
from churn_platform.features.online import Missing, OnlineReader
from churn_platform.features.packed.layout import from_micros
from churn_platform.features.packed.opening import open_store

if TYPE_CHECKING:
    from churn_platform.records.home import Home

AVAILABLE = 0.99


@dataclass(frozen=True)
class Availability:
    """Of the customers whom the newest table names, how many have each feature online.

    Attributes:
        customers: how many were asked for.
        shares: feature → customers with a value online / customers with a value in the table; 1 where the table has
            none.
        missing: reason → customers without a vector; they count as without every feature.
    """

    customers: int
    shares: Mapping[str, float]
    missing: Mapping[str, int]

    @property
    def low(self) -> dict[str, float]:
        """The features at 99 % or below, lowest first."""
        found = {name: share for name, share in self.shares.items() if share <= AVAILABLE}
        return dict(sorted(found.items(), key=lambda one: one[1]))


@dataclass(frozen=True)
class Freshness:
    """``observed``: the newest time that went online (None: never); ``age`` until now; ``limit``: the time to live."""

    observed: datetime | None
    age: timedelta | None
    limit: timedelta | None

    @property
    def fresh(self) -> bool:
        """Whether what is online may still be served."""
        return self.observed is not None and (not self.limit or self.age is None or self.age <= self.limit)


def availability(home: Home, observation: str, *, but: Collection[str] = (), sample: int = 2_000) -> Availability:
    """Ask for a sample of a table's customers but those of ``but`` (who have left since), spread evenly, as of now."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(offline_folder(home) / f"{observation}.parquet")
    table = table.filter(pc.invert(pc.is_in(table[JOIN_KEY], pa.array(list(but), pa.string()))))
    step = max(1, table.num_rows // sample)
    rows = table.take(list(range(0, table.num_rows, step))[:sample]).to_pylist()
    reader = OnlineReader(home)
    found = reader.get([row[JOIN_KEY] for row in rows])
    missing: dict[str, int] = {}
    for one in found.values():
        if isinstance(one, Missing):
            missing[one.reason] = missing.get(one.reason, 0) + 1
    shares = {}
    for name in reader.features:
        known = [row[JOIN_KEY] for row in rows if row.get(name) is not None]
        there = [who for who in known if not isinstance(v := found[who], Missing) and v[name] is not None]
        shares[name] = len(there) / len(known) if known else 1.0
    return Availability(len(rows), shares, missing)


def freshness(home: Home) -> Freshness:
    """How old the newest observation online is."""
    views = open_store(home).generation().views
    times = [view.observed for view in views if view.observed is not None]
    if len(times) < len(views):
        return Freshness(None, None, None)
    observed = from_micros(min(times))
    lives = [view.ttl for view in views if view.ttl]
    return Freshness(observed, clock.now() - observed, min(lives) if lives else None)
