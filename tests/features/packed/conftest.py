"""Both stores, each on a real server or file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest

from churn_platform.features.packed.layout import Column, Generation, Layout, Value, ViewSpec, unpack
from churn_platform.features.packed.lmdb_store import LmdbStore
from churn_platform.features.packed.redis_store import RedisStore
from churn_platform.features.packed.store import PackedStore
from tests.records.servers import redis_server

Rows: TypeAlias = dict[str, tuple[int, int, float | None, str | None]]
"""Customer → event µs, created µs, number, text."""

LAYOUT = Layout((Column("amount", "number"), Column("plan", "category")))
SPECS = {name: ViewSpec(LAYOUT, timedelta(days=45)) for name in ("usage", "billing")}
MakeStore: TypeAlias = Callable[[], PackedStore]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=["lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PackedStore]:
    made: Any
    if request.param == "lmdb":
        made = LmdbStore(tmp_path / "online.lmdb")
    else:
        made = RedisStore(request.getfixturevalue("redis_url"), "tests", grace=0.0)
    made.clear()
    yield made
    made.close()


def table(rows: Rows) -> pa.Table:
    """The rows as the compute engine gets them."""
    moments = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "customer_id": pa.array(list(rows), pa.string()),
            "event_timestamp": pa.array([row[0] for row in rows.values()], moments),
            "created_timestamp": pa.array([row[1] for row in rows.values()], moments),
            "amount": pa.array([row[2] for row in rows.values()], pa.float64()),
            "plan": pa.array([row[3] for row in rows.values()], pa.string()),
        }
    )


KEYS = {"key": "customer_id", "event": "event_timestamp", "created": "created_timestamp"}


def materialize(store: PackedStore, rows: Rows, specs: dict[str, ViewSpec] | None = None) -> None:
    """A whole materialization."""
    building = store.begin(specs or SPECS)
    for view in specs or SPECS:
        building.load(view, table(rows), **KEYS)
    building.commit()


def state(store: PackedStore, customers: list[str]) -> tuple[Generation, dict[str, dict[str, Any]], dict[str, int]]:
    """Generation, view → customer → (event, created, values), and who has departed."""
    reading = store.read(customers)
    found: dict[str, dict[str, Any]] = {}
    for view, records in zip(reading.views, reading.records, strict=True):
        found[view.name] = {}
        for customer, record in zip(customers, records, strict=True):
            if record is not None:
                event, created, values = unpack(view.layout, record, reading.dictionaries[view.layout.digest])
                found[view.name][customer] = (event, created, *values)
    return reading.generation, found, dict(reading.departed)


def row(customer: str, event: int, created: int, *values: Value) -> tuple[str, int, int, tuple[Value, ...]]:
    return customer, event, created, values
