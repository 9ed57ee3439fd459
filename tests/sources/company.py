"""A small made-up company with every table of the contract, for the tests of the door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from churn_platform.sources.contract import Contract, parse_contract


def at(*parts: int) -> datetime:
    """A naive UTC time, as raw and clean tables have them."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


START = at(2024, 1, 1)
DAY = timedelta(days=1)

CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "problem": "churn",
    "shape": "relational",
    "currency": "USD",
    "label": {"source": "churn_events", "kind_column": "kind"},
    "tables": {
        "accounts": {
            "path": "accounts.parquet",
            "entity": "account_id",
            "key": ["account_id"],
            "event_time": "created_at",
            "ingested_at": "ingested_at",
            "columns": {
                "industry": {"type": "category", "temporality": "immutable", "allowed": ["retail", "health"]},
                "initial_size": {"type": "category", "temporality": "immutable"},
                "plan": {"type": "category", "temporality": "current_only"},
                "owner": {"type": "category", "temporality": "current_only"},
            },
        },
        "subscriptions": {
            "path": "subscriptions.parquet",
            "entity": "account_id",
            "key": ["subscription_version_id"],
            "event_time": "started_at",
            "ingested_at": "ingested_at",
            "columns": {
                "subscription_id": {"type": "text"},
                "plan": {"type": "category"},
                "seats": {"type": "integer", "source": "n_seats", "min": 1},
                "mrr": {"type": "number", "min": 0, "nullable": False},
                "ended_at": {"type": "timestamp", "known_at": "ended_recorded_at"},
            },
        },
        "usage": {
            "path": "usage",
            "entity": "account_id",
            "key": ["account_id", "usage_date"],
            "event_time": "usage_date",
            "ingested_at": "ingested_at",
            "columns": {
                "logins": {"type": "integer", "min": 0},
                "minutes": {"type": "number", "min": 0, "max": 100000},
            },
        },
        "tickets": {
            "path": "tickets.csv",
            "entity": "account_id",
            "key": ["ticket_id"],
            "event_time": "opened_at",
            "ingested_at": "ingested_at",
            "columns": {
                "severity": {"type": "integer", "min": 1, "max": 4},
                "escalated": {"type": "boolean"},
                "closed_at": {"type": "timestamp", "known_at": "closed_recorded_at"},
                "csat": {"type": "number", "known_at": "csat_recorded_at", "min": 1, "max": 5},
            },
        },
        "churn_events": {
            "path": "churn_events.parquet",
            "entity": "account_id",
            "key": ["churn_event_id"],
            "event_time": "effective_at",
            "ingested_at": "recorded_at",
            "columns": {"kind": {"type": "category", "allowed": ["voluntary", "involuntary"]}},
        },
    },
}
TIMES = {
    "accounts": ("ingested_at", {}),
    "subscriptions": ("ingested_at", {"ended_recorded_at": ["ended_at"]}),
    "usage": ("ingested_at", {}),
    "tickets": ("ingested_at", {"closed_recorded_at": ["closed_at"], "csat_recorded_at": ["csat"]}),
    "churn_events": ("recorded_at", {}),
}
Frames = dict[str, pd.DataFrame]


def contract(change: Callable[[dict[str, Any]], None] | None = None) -> Contract:
    """The company's contract, after a change to a copy of its plain form."""
    import copy

    value = copy.deepcopy(CONTRACT)
    if change:
        change(value)
    return parse_contract(value)


def frames(*, accounts: int = 30, days: int = 170, seed: int = 0) -> Frames:
    """The raw tables as pandas frames (naive UTC times)."""
    rng = np.random.default_rng(seed)
    ids = [f"ACME-{n:05d}" for n in range(accounts)]
    created = [START + timedelta(hours=int(h)) for h in rng.integers(0, 24 * 60, accounts)]
    ended = [c + timedelta(days=int(rng.integers(20, 90))) if rng.random() < 0.4 else None for c in created]
    end = START + timedelta(days=days)

    def arrival(moment: datetime, scale: float = 6.0) -> datetime:
        return moment + timedelta(hours=float(rng.exponential(scale)))

    out: dict[str, list[dict[str, Any]]] = {name: [] for name in TIMES}
    for i, (account, start, stop) in enumerate(zip(ids, created, ended, strict=True)):
        out["accounts"].append(
            {
                "account_id": account,
                "created_at": start,
                "ingested_at": arrival(start),
                "industry": ["retail", "health"][i % 2],
                "initial_size": ["small", "large"][i % 3 == 0],
                "plan": "pro",
                "owner": f"csm-{i % 3}",
            }
        )
        for version in range(2):
            since = start + timedelta(days=40 * version)
            recorded = arrival(stop) if stop else None
            out["subscriptions"].append(
                {
                    "account_id": account,
                    "subscription_version_id": f"sv-{i}-{version}",
                    "subscription_id": f"sub-{i}",
                    "started_at": since,
                    "ingested_at": arrival(since),
                    "plan": "pro",
                    "n_seats": 5 + version,
                    "mrr": 100.0 + i,
                    "ended_at": stop,
                    "ended_recorded_at": recorded,
                }
            )
        if stop:
            out["churn_events"].append(
                {
                    "account_id": account,
                    "churn_event_id": f"ce-{i}",
                    "effective_at": stop,
                    "recorded_at": arrival(stop, 48.0),
                    "kind": "voluntary" if rng.random() < 0.8 else "involuntary",
                }
            )
        day = start.replace(hour=0, minute=0)
        while day < min(stop or end, end):
            if rng.random() < 0.3:
                out["usage"].append(
                    {
                        "account_id": account,
                        "usage_date": day,
                        "ingested_at": arrival(day + DAY, 30.0),
                        "logins": int(rng.poisson(3)),
                        "minutes": round(float(rng.exponential(30)), 3),
                    }
                )
            if rng.random() < 0.02:
                opened = day + timedelta(hours=9)
                closed = opened + timedelta(days=float(rng.exponential(20)))
                scored = closed + timedelta(days=float(rng.exponential(10)))
                out["tickets"].append(
                    {
                        "account_id": account,
                        "ticket_id": f"t-{i}-{day:%m%d}",
                        "opened_at": opened,
                        "ingested_at": arrival(opened),
                        "severity": int(rng.integers(1, 5)),
                        "escalated": bool(rng.random() < 0.2),
                        "closed_at": closed,
                        "closed_recorded_at": arrival(closed),
                        "csat": float(rng.integers(1, 6)),
                        "csat_recorded_at": arrival(scored),
                    }
                )
            day += DAY
    return truncate({name: pd.DataFrame(rows) for name, rows in out.items()}, end)


def truncate(tables: Frames, t: datetime) -> Frames:
    """What the source held at ``t``: rows that had arrived, values that had been recorded."""
    result = {}
    for name, frame in tables.items():
        ingested, helpers = TIMES[name]
        kept = frame[frame[ingested] <= t].copy()
        for helper, values in helpers.items():
            unknown = kept[helper].isna() | (kept[helper] > t)
            for column in (helper, *values):
                kept[column] = kept[column].mask(unknown)
        result[name] = kept
    return result


def write(tables: Frames, folder: Path) -> Path:
    """Write the tables as the contract says they lie: Parquet files, a folder of daily parts, and a CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        if name == "tickets":
            frame.to_csv(folder / "tickets.csv", index=False, date_format="%Y-%m-%d %H:%M:%S.%f")
            continue
        times = [column for column in frame.columns if column.endswith(("_at", "_date"))]
        frame = frame.astype(dict.fromkeys(times, "datetime64[us]"))
        if name == "usage":
            (folder / "usage").mkdir(exist_ok=True)
            for old in (folder / "usage").glob("*"):
                old.unlink()
            month = frame["usage_date"].dt.strftime("%Y-%m").fillna("undated")
            for stem, part in frame.groupby(month):
                part.to_parquet(folder / "usage" / f"{stem}.parquet", index=False)
        else:
            frame.to_parquet(folder / f"{name}.parquet", index=False)
    return folder
