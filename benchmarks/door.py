"""The door: time and memory of five million accounts and their subscriptions, raw files to cleaned parts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, Figure, Goal

ACCOUNTS = 5_000_000
TABLES = ("accounts", "subscriptions")
CONTRACT: dict[str, Any] = {
    "contract_version": 1,
    "shape": "relational",
    "label": {"source": "churn_events"},
    "tables": {
        "accounts": {
            "path": "accounts.parquet",
            "entity": "account_id",
            "key": ["account_id"],
            "event_time": "created_at",
            "ingested_at": "ingested_at",
            "columns": {
                "industry": {"type": "category", "temporality": "immutable"},
                "country": {"type": "category", "temporality": "immutable"},
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
                "seats": {"type": "integer", "min": 1},
                "mrr": {"type": "number", "min": 0},
                "ended_at": {"type": "timestamp", "known_at": "ended_recorded_at"},
            },
        },
        "churn_events": {
            "path": "churn_events.parquet",
            "entity": "account_id",
            "key": ["churn_event_id"],
            "event_time": "effective_at",
            "columns": {"kind": {"type": "category"}},
        },
    },
}
CHILD = """
import json, resource, sys, time
from pathlib import Path
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.sources.calendar import observe_dates
from churn_platform.sources.contract import parse_contract
from churn_platform.sources.door import admit
source, home = Path(sys.argv[1]), Home.open(Path(sys.argv[2]))
contract = parse_contract(json.loads(sys.argv[3]))
began = time.perf_counter()
calendar = observe_dates(contract, source)
done = admit(contract, source, calendar.observations, store=ContentStore(home.store), vault=IdentityVault.open(home),
             home=home, tables=["accounts", "subscriptions"], calendar=calendar, expectations=False)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({"seconds": time.perf_counter() - began, "rows": sum(done.rows.values()),
                  "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}))
"""


def run(bench: Bench) -> Iterator[Figure]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_source(source, ACCOUNTS)

        def seconds() -> float:
            with tempfile.TemporaryDirectory(dir=folder) as home:
                found.update(admit_in_child(source, Path(home)))
            return found["seconds"]

        yield bench.absolute("seconds_5m_accounts", seconds, unit="s", goal=Goal("<=", 900))
    yield bench.absolute("rss_5m_accounts", lambda: found["gib"], unit="GiB", goal=Goal("<=", 4), always_judged=True)
    yield bench.absolute("rows_5m_accounts", lambda: found["rows"], unit="rows", always_judged=True)


def write_source(folder: Path, accounts: int) -> None:
    """Write accounts, one to three versions of a subscription each, and departures, without holding them in memory."""
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    day = "TIMESTAMP '2022-01-01' + to_days((hash({n}) % 1000)::INTEGER)"
    started = day.format(n="n") + " + to_days(30 * v::INTEGER)"
    tables = {
        "accounts": f"""SELECT 'ACC-' || lpad(n::VARCHAR, 9, '0') AS account_id, {day.format(n="n")} AS created_at,
            created_at + INTERVAL 3 HOUR AS ingested_at, 'industry ' || n % 12 AS industry, 'C' || n % 40 AS country
            FROM range({accounts}) AS r(n)""",
        "subscriptions": f"""SELECT 'ACC-' || lpad(n::VARCHAR, 9, '0') AS account_id,
            'SV-' || n || '-' || v AS subscription_version_id, 'SUB-' || n AS subscription_id, {started} AS started_at,
            started_at + INTERVAL 5 HOUR AS ingested_at, 'plan ' || n % 4 AS plan, 1 + n % 50 AS seats,
            10.0 * (1 + n % 50) AS mrr, CASE WHEN n % 10 = 0 THEN started_at + INTERVAL 25 DAY END AS ended_at,
            ended_at + INTERVAL 1 DAY AS ended_recorded_at
            FROM range({accounts}) AS r(n), range(1 + n % 3) AS s(v)""",
        "churn_events": f"""SELECT 'ACC-' || lpad(n::VARCHAR, 9, '0') AS account_id, 'CE-' || n AS churn_event_id,
            TIMESTAMP '2024-12-01' AS effective_at, 'voluntary' AS kind FROM range(0, {accounts}, 10) AS r(n)""",
    }
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET memory_limit = '1GB'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(f"SET temp_directory = '{folder}'")
        for name, sql in tables.items():
            connection.execute(f"COPY ({sql}) TO '{folder / name}.parquet' (FORMAT parquet, COMPRESSION zstd)")


def admit_in_child(source: Path, home: Path) -> dict[str, float]:
    """Admit both tables in a process of its own; its seconds, rows and greatest memory in GiB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(source), str(home), json.dumps(CONTRACT)],
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer
