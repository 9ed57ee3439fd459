"""A small world with a known hazard: feature and label tables by month, as features and labels are stored."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from churn_platform.features.catalogue import Feature
from churn_platform.records.store import ContentStore

FEATURES = (
    Feature("logins_30d", "usage", "number", "logins in the last 30 days", "logins", "d", "0 without activity", 0),
    Feature("days_since_last_activity", "usage", "number", "days since the last activity", "days", "d", "n", 0),
    Feature("seat_share", "usage", "number", "share of paid seats in use", "share", "d", "null without seats", 2),
    Feature("nps", "engagement", "number", "last survey answer", "points of 10", "d", "null without an answer", 0),
    Feature("mrr", "billing", "number", "monthly revenue", "currency a month", "d", "null where not known", 2),
    Feature("renewal_soon", "billing", "number", "renewal due within 30 days", "yes = 1", "d", "n", 0),
    Feature("plan", "lifecycle", "category", "plan", "", "d", "null where not known", 0),
    Feature("region", "attributes", "category", "region", "", "d", "null where not known", 0),
)
PLANS = np.array(["basic", "pro", "enterprise"], dtype=object)
REGIONS = np.array(["emea", "amer", "apac", None], dtype=object)


@dataclass(frozen=True)
class World:
    """Digests of features and labels by observation, the contract's facts, and the true probabilities by
    row."""

    features: dict[str, str]
    labels: dict[str, str]
    contract: Any
    oracle: dict[tuple[str, str], float]


def contract(shape: str = "relational", horizon_days: int = 30) -> Any:
    """The few facts of a contract that a training set reads."""
    label = SimpleNamespace(horizon_days=horizon_days, gap_days=0)
    return SimpleNamespace(problem="churn", shape=shape, currency="USD", label=label)


def months(count: int, first: int = 2023 * 12) -> list[str]:
    """Keys of consecutive months."""
    return [f"{(first + m) // 12:04d}-{(first + m) % 12 + 1:02d}-01" for m in range(count)]


def put(store: ContentStore, columns: dict[str, Any]) -> str:
    with store.temporary() as path:
        pq.write_table(pa.table(columns), path)
        return store.put_file(path, move=True)


def world(
    store: ContentStore,
    *,
    customers: int = 500,
    count: int = 10,
    base: float = -3.4,
    seed: int = 0,
    salt: str = "",
) -> World:
    """Customers who come, use, and leave. ``salt`` changes their pseudonyms and the order of rows, and
    nothing else.

    The last month is immature; one customer in fifty is treated; one leaver in six leaves involuntarily.
    """
    rng = np.random.default_rng(seed)
    health = rng.normal(size=customers)
    plan = rng.integers(0, 3, customers)
    region = rng.integers(0, 4, customers)
    revenue = np.round(np.exp(rng.normal(5.5, 1.0, customers)), 2)
    there = np.ones(customers, dtype=bool)
    made = World({}, {}, contract(), {})
    keys = months(count)
    for number, key in enumerate(keys):
        health = 0.9 * health + 0.45 * rng.normal(size=customers)
        logins = rng.poisson(np.exp(3.0 + 0.7 * health)).astype(float)
        idle = np.where(logins > 0, rng.poisson(np.exp(0.8 - 0.5 * health)), 40.0)
        share = np.clip(0.6 + 0.15 * health + 0.1 * rng.normal(size=customers), 0.0, 1.0)
        nps = np.where(rng.random(customers) < 0.6, np.nan, np.clip(np.round(7 + health), 0, 10))
        renewal = (rng.random(customers) < 0.3).astype(float)
        chance = 1 / (1 + np.exp(-(base - 1.3 * health + 1.1 * renewal + 0.5 * (plan == 0))))
        leaves = rng.random(customers) < chance
        involuntary = leaves & (rng.random(customers) < 1 / 6)
        treated = rng.random(customers) < 0.02
        immature = number == count - 1
        outcome = np.where(involuntary, "involuntary", np.where(leaves, "voluntary", "retained")).astype(object)
        label = [None if i or immature else int(v) for i, v in zip(involuntary, leaves, strict=True)]
        if immature:
            outcome[:] = "immature"
        index = np.flatnonzero(there)
        if salt:
            index = np.random.default_rng(zlib.crc32(salt.encode())).permutation(index)
        ids = [f"{salt}{'zyxw' if salt else 'abcd'}{(customers - i if salt else i):06d}" for i in index]
        made.features[key] = put(
            store,
            {
                "customer_id": ids,
                "event_timestamp": [key] * len(ids),
                "logins_30d": logins[index],
                "days_since_last_activity": idle[index],
                "seat_share": share[index],
                "nps": pa.array(nps[index], from_pandas=True),
                "mrr": revenue[index],
                "renewal_soon": renewal[index],
                "plan": PLANS[plan[index]].tolist(),
                "region": REGIONS[region[index]].tolist(),
            },
        )
        made.labels[key] = put(
            store,
            {
                "customer_id": ids,
                "observation_date": [key] * len(ids),
                "outcome": outcome[index].tolist(),
                "label": pa.array([label[i] for i in index], pa.int8()),
                "mrr": revenue[index],
                "treated": treated[index],
            },
        )
        made.oracle.update({(name, key): float(chance[i]) for name, i in zip(ids, index, strict=True)})
        there &= ~leaves
    return made


def snapshot(store: ContentStore, *, customers: int = 1500, seed: int = 0, base: float = -1.2) -> World:
    """One flat table, a few rows of which are exact copies of others."""
    rng = np.random.default_rng(seed)
    health = rng.normal(size=customers)
    columns: dict[str, Any] = {
        "logins_30d": rng.poisson(np.exp(3 + 0.7 * health)).astype(float),
        "days_since_last_activity": rng.poisson(np.exp(0.8 - 0.5 * health)).astype(float),
        "seat_share": np.round(np.clip(0.6 + 0.15 * health, 0, 1), 2),
        "nps": np.clip(np.round(7 + health), 0, 10),
        "mrr": np.round(np.exp(rng.normal(5.5, 1.0, customers)), 2),
        "renewal_soon": (rng.random(customers) < 0.3).astype(float),
        "plan": PLANS[rng.integers(0, 3, customers)],
        "region": REGIONS[rng.integers(0, 4, customers)],
    }
    copies = rng.choice(customers, 20, replace=False)
    for name, values in columns.items():
        columns[name] = np.concatenate([values, values[copies]])
    health = np.concatenate([health, health[copies]])
    chance = 1 / (1 + np.exp(-(base - 1.3 * health)))
    left = rng.random(len(chance)) < chance
    ids = [f"id{i:06d}" for i in range(len(left))]
    tables = {name: values.tolist() for name, values in columns.items()}
    features = put(store, {"customer_id": ids, **tables})
    labels = put(
        store,
        {
            "customer_id": ids,
            "observation_date": ["snapshot"] * len(ids),
            "outcome": np.where(left, "voluntary", "retained").tolist(),
            "label": pa.array(left.astype(np.int8)),
            "mrr": tables["mrr"],
            "treated": [False] * len(ids),
        },
    )
    oracle = {(name, "snapshot"): float(p) for name, p in zip(ids, chance, strict=True)}
    return World({"snapshot": features}, {"snapshot": labels}, contract("snapshot"), oracle)
