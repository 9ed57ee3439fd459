"""Point-in-time features: 50,000 accounts by 24 months, beside Feast's own DuckDB store on the same rows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bench, Figure, Goal

ACCOUNTS, MONTHS = 50_000, 24
START = "2023-10-01"
"""Three months of usage stand before the first observation date: every window is full."""
CHOSEN = (
    "usage_active_seats_sum_30d_per_seats",
    "usage_core_actions_max_7d",
    "usage_active_seats_per_minutes_30d",
    "usage_core_actions_sum_30d_per_mrr",
    "usage_reports_mean_30d",
    "usage_count_30d_per_seats",
    "usage_minutes_std_30d",
    "usage_count_trend_30d",
)
"""Generated features such as a choice on the simulated company makes, beside the hand-made ones."""
CHILD = "import sys; from benchmarks.features_pit import child; child(*sys.argv[1:])"


def figures(bench: Bench, *, accounts: int = ACCOUNTS, months: int = MONTHS) -> Iterator[Figure]:
    """The figures ``pit_seconds``, ``pit_gib``, ``pit_rows``, ``pit_values_ratio``, ``candidates_seconds``."""
    found: dict[str, dict[str, float]] = {}

    def seconds(part: str, folder: str) -> float:
        found[part] = _in_child(part, folder, accounts, months)
        return found[part]["seconds"]

    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), accounts, months)
        yield bench.absolute("pit_seconds", lambda: seconds("chosen", folder), unit="s", goal=Goal("<=", 180))
        ours = found["chosen"]
        yield bench.absolute("pit_gib", lambda: ours["gib"], unit="GiB", goal=Goal("<=", 4), always_judged=True)
        yield bench.absolute("pit_rows", lambda: ours["rows"], unit="label rows", always_judged=True)
        seconds("feast", folder)
        feast = found["feast"]
        # Feast joins features that are computed already, ours are computed from raw rows: values a second of each
        rate, other = (one["rows"] * one["columns"] / one["seconds"] for one in (ours, feast))
        yield bench.ratio(
            "pit_values_ratio",
            rate,
            unit="values/s",
            against={"feast_duckdb": other},
            ratio=rate / other,
        )
        yield bench.absolute("candidates_seconds", lambda: seconds("all", folder), unit="s", goal=Goal("<=", 900))
        yield bench.absolute("candidates_gib", lambda: found["all"]["gib"], unit="GiB", always_judged=True)


def _in_child(part: str, folder: str, accounts: int, months: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, part, folder, str(accounts), str(months)],
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def child(part: str, folder: str, accounts: str, months: str) -> None:
    """One measurement in a process of its own: prints seconds, greatest memory, rows and feature columns."""
    import resource
    import time

    root = Path(folder)
    began = time.perf_counter()
    rows, columns = _feast(root) if part == "feast" else _ours(root, part, int(months))
    seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    print(json.dumps({"seconds": seconds, "gib": gib, "rows": rows, "columns": columns}))


def _observations(months: int) -> list[str]:
    from churn_platform.features.observation import next_month

    keys = ["2024-01-01"]
    while len(keys) < months:
        keys.append(next_month(keys[-1]))
    return keys


def write_tables(root: Path, accounts: int, months: int) -> None:
    """Cleaned tables as the door leaves them: accounts, subscriptions, and daily usage on eleven of twelve days, in a
    part for each month."""
    from churn_platform.features.observation import next_month
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.engine import engine

    store = ContentStore(root / "store")
    last = _observations(months)[-1]
    parts: dict[str, list[tuple[str, str, int]]] = {"accounts": [], "subscriptions": [], "usage": []}
    who = "'c' || lpad({n}::VARCHAR, 9, '0') AS customer_id"
    early = f"TIMESTAMP '{START}' - to_days((hash(n) % 700)::INTEGER) - INTERVAL 1 DAY"
    sql = {
        "accounts": f"""SELECT {who.format(n="n")}, 'a' || n AS row_id, {early} AS event_time,
            event_time AS ingested_at,
            'industry ' || n % 12 AS industry, 'region ' || n % 5 AS region FROM range({accounts}) AS r(n)""",
        "subscriptions": f"""SELECT {who.format(n="n")}, 's' || n AS row_id, {early} AS event_time,
            event_time AS ingested_at, 'sub' || n AS subscription_id, 'plan ' || n % 4 AS plan, 1 + n % 50 AS seats,
            10.0 * (1 + n % 50) AS mrr, event_time + INTERVAL 1000 DAY AS renews_at, NULL::TIMESTAMP AS ended_at
            FROM range({accounts}) AS r(n)""",
    }
    with engine(None) as duck:
        for name, query in sql.items():
            parts[name].append((START, *_put(duck, query, store)))
        month = START
        while month < last:
            until = next_month(month)
            draw = "(hash(n * 100003 + d) % {most})::BIGINT"
            query = f"""SELECT {who.format(n="n")}, 'u' || n || '-' || d AS row_id,
                TIMESTAMP '{month}' + to_days(d::INTEGER) AS event_time,
                least(event_time + to_hours(3 + {draw.format(most=9)}), TIMESTAMP '{until}') AS ingested_at,
                1 + {draw.format(most=20)} AS active_seats, {draw.format(most=60)} AS logins,
                {draw.format(most=300)} AS core_actions, {draw.format(most=900)} AS api_calls,
                {draw.format(most=7)} AS reports, {draw.format(most=1000)} / 3.0 AS minutes,
                {draw.format(most=5)} AS errors
                FROM range({accounts}) AS r(n), range(date_diff('day', DATE '{month}', DATE '{until}')) AS s(d)
                WHERE hash(n + d * 7919) % 12 > 0 ORDER BY d, n"""
            parts["usage"].append((until, *_put(duck, query, store)))
            month = until
    (root / "parts.json").write_text(json.dumps(parts))


def _put(duck: object, query: str, store: object) -> tuple[str, int]:
    with store.temporary() as path:  # type: ignore[attr-defined]
        copy = f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        rows = duck.execute(copy).fetchone()[0]  # type: ignore[attr-defined]
        return store.put_file(path, move=True), int(rows)  # type: ignore[attr-defined]


def _contract() -> object:
    from churn_platform.sources.contract import parse_contract

    def table(time: str, **columns: str) -> dict[str, object]:
        return {
            "path": "x.parquet",
            "entity": "account",
            "event_time": time,
            "ingested_at": "ingested",
            "columns": {name: {"type": kind} for name, kind in columns.items()},
        }

    subscriptions = table(
        "started",
        subscription_id="text",
        plan="category",
        seats="integer",
        mrr="number",
        renews_at="timestamp",
        ended_at="timestamp",
    )
    subscriptions["columns"]["ended_at"]["known_at"] = "ended_recorded_at"  # type: ignore[index]
    whole = dict.fromkeys(("active_seats", "logins", "core_actions", "api_calls", "reports"), "integer")
    accounts = table("created", industry="category", region="category")
    for column in accounts["columns"].values():  # type: ignore[attr-defined]
        column["temporality"] = "immutable"
    return parse_contract(
        {
            "shape": "relational",
            "label": {"source": "subscription_end"},
            "tables": {
                "accounts": accounts,
                "subscriptions": subscriptions,
                "usage": table("day", **whole, minutes="number", errors="integer"),
            },
        }
    )


def _ours(root: Path, part: str, months: int) -> tuple[int, int]:
    from churn_platform.features.assemble import assemble
    from churn_platform.features.available import Available
    from churn_platform.features.candidates import COST_LIMIT, candidates, costs
    from churn_platform.features.catalogue import catalogue_for
    from churn_platform.features.definitions import definitions_for
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract
    from churn_platform.sources.tables import TablePart, TableVersion

    contract = _contract()
    assert isinstance(contract, Contract)
    parts = json.loads((root / "parts.json").read_text())
    versions = {
        month: {
            name: TableVersion(name, month, tuple(TablePart(*one) for one in found if one[0] <= month))
            for name, found in parts.items()
        }
        for month in _observations(months)
    }
    generated: tuple[str, ...] = CHOSEN
    if part == "all":
        available = Available.of(contract)
        found = candidates(available, definitions_for(available))
        cost = costs(found, {"usage": 1})
        generated = tuple(c.name for c in found if not c.definition.hidden and cost[c.name] <= COST_LIMIT)
    store = ContentStore(root / "store")
    made = assemble(contract, versions, list(versions), store=store, generated=generated)
    if part == "chosen":
        (root / "made.json").write_text(json.dumps([str(store.path(month.digest)) for month in made.values()]))
    return sum(month.rows for month in made.values()), len(catalogue_for(contract, generated=generated))


def _feast(root: Path) -> tuple[int, int]:
    """Feast's history of the same rows: labels joined with the feature tables that ours has made."""
    import shutil
    from datetime import timedelta

    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64

    repo = root / "feast"
    shutil.rmtree(repo, ignore_errors=True)
    (repo / "data").mkdir(parents=True)
    files = json.loads((root / "made.json").read_text())
    for place, path in enumerate(files):
        shutil.copy(path, repo / "data" / f"{place:03d}.parquet")
    schema = pq.read_schema(files[0])
    names = [field.name for field in schema if str(field.type) == "double"]
    store = FeatureStore(
        config=RepoConfig(
            project="pit",
            provider="local",
            registry=str(repo / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store=None,
            repo_path=repo,
            entity_key_serialization_version=3,
        )
    )
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    source = FileSource(path=str(repo / "data"), file_format=ParquetFormat(), timestamp_field="event_timestamp")
    view = FeatureView(
        name="features",
        entities=[customer],
        ttl=timedelta(days=40),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=source,
        online=False,
    )
    store.apply([customer, view])
    keys = pq.read_table(str(repo / "data"), columns=["customer_id", "event_timestamp"]).to_pandas()
    wanted = [f"features:{name}" for name in names]
    made = store.get_historical_features(keys, wanted).to_arrow()
    assert made.num_rows == len(keys)
    return made.num_rows, len(names)
