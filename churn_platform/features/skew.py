"""The skew test: one value, read four ways, is one value.

The packed record, Feast's online API, Feast's point-in-time join and the assembled table must agree exactly at the
same instant, or training and serving see different customers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn_platform import clock
from churn_platform.features.feast_objects import JOIN_KEY, offline_folder, service_name
from churn_platform.features.feast_store import historical, open_feast
from churn_platform.features.observation import instant
from churn_platform.features.online import Missing, OnlineReader, Vector
from churn_platform.features.packed.opening import open_store
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.records.home import Home

_SHOWN = 10


@dataclass(frozen=True)
class Skew:
    """What was compared.

    Attributes:
        customers, values: how many were compared.
        differing: up to ten of ``customer feature: packed / online / historical / offline`` (pseudonyms).
        pushed: customers left out because a row of theirs was pushed since: the tables do not have it.
    """

    customers: int
    values: int
    differing: tuple[str, ...]
    pushed: int = 0


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
    with clock.as_of(instant(observation).replace(tzinfo=UTC)):
        done = _compare(home, {row[JOIN_KEY]: row for row in rows}, observation, problem)
        still = OnlineReader(home).get(left) if left else {}
    served = [f"{who}: has left, and is online" for who, found in still.items() if not isinstance(found, Missing)]
    return Skew(done.customers, done.values, (*served, *done.differing)[:_SHOWN])


def skew_online(home: Home, *, sample: int = 200, problem: str | None = None) -> Skew:
    """Compare a sample of the customers that are online now with the table of their vector's date.

    Customers who are online but in no table of their date differ; who has expired is no longer served and is left
    out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    customers = open_store(home).customers(sample)
    found = OnlineReader(home).get(customers)
    dates = {instant(file.stem).replace(tzinfo=UTC): file.stem for file in offline_folder(home).glob("*.parquet")}
    groups: dict[str, list[str]] = {}
    pushed = 0
    for one, vector in found.items():
        if isinstance(vector, Missing):
            continue
        times = set(vector.view_times.values())
        if len(times) == 1 and times <= dates.keys():
            groups.setdefault(dates[times.pop()], []).append(one)
        else:
            pushed += 1
    total, values, differing = 0, 0, list[str]()
    for observation, members in groups.items():
        table = pq.read_table(offline_folder(home) / f"{observation}.parquet")
        rows = table.filter(pc.is_in(table[JOIN_KEY], pa.array(members))).to_pylist()
        known = {row[JOIN_KEY]: row for row in rows}
        differing += [f"{one}: online, but not in the table of {observation}" for one in members if one not in known]
        done = _compare(home, known, observation, problem)
        total, values = total + done.customers, values + done.values
        differing += done.differing
    return Skew(total, values, tuple(differing[:_SHOWN]), pushed)


def _compare(home: Home, rows: Mapping[str, Mapping[str, Any]], observation: str, problem: str | None) -> Skew:
    """Compare the vectors online now with the rows of a table."""
    if not rows:
        return Skew(0, 0, ())
    moment = instant(observation)
    reader = OnlineReader(home)
    names = reader.features
    packed = reader.get(list(rows))
    online = _through_feast(home, list(rows), problem)
    asked = [{JOIN_KEY: customer, "event_timestamp": moment} for customer in rows]
    history = historical(home, asked, problem=problem).to_dict("records")
    differing: list[str] = []
    for (customer, row), found in zip(rows.items(), history, strict=True):
        past = {str(name): value for name, value in found.items()}
        vector = packed[customer]
        if isinstance(vector, Missing):
            differing.append(f"{customer}: {vector.reason} online")
            continue
        differing += _differences(customer, vector, online[customer], past, row, names, moment.replace(tzinfo=UTC))
    return Skew(len(rows), len(rows) * len(names), tuple(differing[:_SHOWN]))


def _differences(
    customer: str,
    vector: Vector,
    online: Mapping[str, Any],
    past: Mapping[str, Any],
    row: Mapping[str, Any],
    names: Sequence[str],
    moment: datetime,
) -> list[str]:
    found = []
    if set(vector.view_times.values()) != {moment}:
        found.append(f"{customer}: online is of {vector['event_timestamp']:%Y-%m-%d}")
    for name in names:
        values = (vector[name], _plain(online.get(name)), _plain(past[name]), row[name])
        if any(value != values[0] for value in values):
            found.append(f"{customer} {name}: {' / '.join(repr(value) for value in values)}")
    return found


def _through_feast(home: Home, customers: Sequence[str], problem: str | None) -> dict[str, dict[str, Any]]:
    feast = open_feast(home)
    service = feast.get_feature_service(service_name(problem or settings().problem))
    answer = feast.get_online_features(features=service, entity_rows={JOIN_KEY: list(customers)}).to_dict()
    return {
        customer: {name: values[i] for name, values in answer.items()} for i, customer in enumerate(answer[JOIN_KEY])
    }


def _plain(value: Any) -> Any:
    # pandas marks what is missing with NaN or NA, in columns of text too
    return None if value is None or value != value else value
