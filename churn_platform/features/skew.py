"""The skew test: online values = offline table = Feast's point-in-time join, at the same instant, exactly."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from churn_platform.features.feast_objects import JOIN_KEY, offline_folder
from churn_platform.features.feast_store import historical
from churn_platform.features.observation import instant
from churn_platform.features.online import Missing, OnlineReader

if TYPE_CHECKING:
    from churn_platform.records.home import Home


@dataclass(frozen=True)
class Skew:
    """What was compared.

    Attributes:
        customers, values: how many were compared.
        differing: up to ten of ``customer feature: online / offline / historical`` (pseudonyms).
    """

    customers: int
    values: int
    differing: tuple[str, ...]


def skew(
    home: Home, observation: str, *, but: Collection[str] = (), sample: int = 50, problem: str | None = None
) -> Skew:
    """Compare a sample of customers, spread evenly over the table of the observation date; those of ``but`` (who have
    left since) must have no current vector."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(offline_folder(home) / f"{observation}.parquet")
    gone = pc.is_in(table[JOIN_KEY], pa.array(list(but), pa.string()))
    left, table = table.filter(gone)[JOIN_KEY].to_pylist()[:sample], table.filter(pc.invert(gone))
    step = max(1, table.num_rows // sample)
    rows = table.take(list(range(0, table.num_rows, step))[:sample]).to_pylist()
    moment = instant(observation)
    reader = OnlineReader(home, problem=problem)
    online = reader.get([row[JOIN_KEY] for row in rows], at=moment.replace(tzinfo=UTC))
    history = historical(
        home, [{JOIN_KEY: row[JOIN_KEY], "event_timestamp": moment} for row in rows], problem=problem
    ).to_dict("records")
    still = reader.get(left, at=moment.replace(tzinfo=UTC)) if left else {}
    differing = [f"{who}: has left, and is online" for who, found in still.items() if not isinstance(found, Missing)]
    for row, past in zip(rows, history, strict=True):
        vector = online[row[JOIN_KEY]]
        if isinstance(vector, Missing):
            differing.append(f"{row[JOIN_KEY]}: {vector.reason} online")
            continue
        if vector["event_timestamp"] != moment.replace(tzinfo=UTC):
            differing.append(f"{row[JOIN_KEY]}: online is of {vector['event_timestamp']:%Y-%m-%d}")
        for name in reader.features:
            values = (vector[name], row[name], _plain(past[name]))
            if not values[0] == values[1] == values[2]:
                differing.append(f"{row[JOIN_KEY]} {name}: {' / '.join(repr(value) for value in values)}")
    return Skew(len(rows), len(rows) * len(reader.features), tuple(differing[:10]))


def _plain(value: Any) -> Any:
    # pandas marks what is missing with NaN or NA, in columns of text too
    return None if value is None or value != value else value
