"""Simulate a company and write its tables, its contract, and the truth beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import ConfigurationError
from churn_platform.records.leftovers import sweep
from churn_platform.records.owner import scratch
from churn_platform.settings import settings
from churn_platform.sources.simulator import billing, engagement, profiles, support
from churn_platform.sources.simulator.contract import TABLES, contract
from churn_platform.sources.simulator.delays import Delays
from churn_platform.sources.simulator.departures import Departures, departures
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.identifiers import make_ids
from churn_platform.sources.simulator.oracle import FUTURES, month_oracle
from churn_platform.sources.simulator.spec import SimulationSpec
from churn_platform.sources.simulator.state import Company
from churn_platform.sources.simulator.timeline import Timeline
from churn_platform.sources.simulator.truth import write_truth
from churn_platform.sources.simulator.usage import usage_month
from churn_platform.sources.simulator.values import Columns
from churn_platform.sources.simulator.write import arrow, known_by, take, write

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Simulation:
    """What was written.

    Args:
        out: the folder.
        as_of: the end of the history (naive UTC): everything known before it is in the tables.
        rows: per table.
        digest: of the spec.
    """

    out: Path
    spec: SimulationSpec
    as_of: datetime
    rows: dict[str, int]
    digest: str

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "simulation/1",
            "spec": self.spec.to_json(),
            "digest": self.digest,
            "as_of": self.as_of.isoformat(),
            "rows": self.rows,
        }


def simulate(
    spec: SimulationSpec, out: Path, *, progress: Progress | None = None, futures: int = FUTURES
) -> Simulation:
    """Write the company of ``spec`` into the new folder ``out``.

    The folder appears when everything is written: ``<table>.parquet``, ``usage/YYYY-MM.parquet`` (by month of
    delivery), ``contract.yaml``, ``simulation.json``, and ``truth/`` which no contract lists.

    Args:
        progress: called with the stage's name and its share done, in [0, 1].
        futures: simulated futures per account and month, for the state oracle.

    Raises:
        ConfigurationError: ``out`` exists and is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigurationError(
            f"out: {out.name} exists and is not empty.",
            mend="Name a new folder, or remove that one.",
            field="out",
        )
    tell = progress or (lambda stage, share: None)
    timeline = Timeline(spec.start, spec.months)
    company = Company(spec, timeline)
    tell("history", 0.0)
    history = company.run(lambda share: tell("history", share))
    out.parent.mkdir(parents=True, exist_ok=True)
    sweep(out.parent, {f".{out.name}"})
    folder = scratch(f".{out.name}", out.parent)
    try:
        rows = _write_all(company, history, folder, tell, futures)
        result = Simulation(
            out=out,
            spec=spec,
            as_of=datetime(1970, 1, 1) + timedelta(microseconds=timeline.as_of),  # noqa: DTZ001 (naive UTC)
            rows=rows,
            digest=spec.digest,
        )
        import yaml

        (folder / "contract.yaml").write_text(
            yaml.safe_dump(contract(), sort_keys=False, allow_unicode=True, width=110), encoding="utf-8"
        )
        (folder / "simulation.json").write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
        folder.chmod(0o755)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return result


def _write_all(company: Company, history: History, folder: Path, tell: Progress, futures: int) -> dict[str, int]:
    spec, timeline = history.spec, history.timeline
    ids = make_ids("ACME", np.arange(len(history.accounts)), spec.seed)
    delays = Delays(spec, timeline)
    gone = departures(history)
    rows: dict[str, int] = {}
    with ThreadPoolExecutor(max_workers=settings().threads) as pool:
        for name, columns in _small_tables(history, delays, gone):
            columns = known_by(name, _delivered(spec, timeline, name, columns), timeline.as_of)
            write(arrow(_in_order(name, columns), ids), folder / TABLES[name].path)
            rows[name] = len(columns["serial"])
            tell("tables", len(rows) / len(TABLES))
        rows["usage"] = _write_usage(history, delays, folder, ids, pool, tell)
        months = [
            pool.submit(month_oracle, history, company.weights(min(month, spec.months - 1)), month, futures=futures)
            for month in range(spec.months + 1)
        ]
        states = []
        for month, future in enumerate(months):
            states.append(future.result())
            tell("truth", (month + 1) / len(months))
    write_truth(history, gone, states, folder / "truth", ids)
    return {name: rows[name] for name in TABLES}


def _small_tables(history: History, delays: Delays, gone: Departures) -> Iterator[tuple[str, Columns]]:
    yield "accounts", profiles.accounts(history, gone)
    yield "subscriptions", billing.subscriptions(history, gone)
    yield "invoices", billing.invoices(history, delays, gone)
    yield "tickets", support.tickets(history, delays)
    yield "surveys", support.surveys(history, delays)
    yield "marketing", engagement.marketing(history, delays)
    yield "interventions", engagement.interventions(history, delays)
    yield "churn_events", gone.events


def _delivered(spec: SimulationSpec, timeline: Timeline, name: str, columns: Columns) -> Columns:
    """Without the months in which the feed was missing."""
    if name != spec.feed:
        return columns
    missing = np.array([preset == "missing_feed" for preset in (*spec.month_presets(), "none")])
    month = timeline.months_of(columns[TABLES[name].event_time])
    return take(columns, np.flatnonzero(~missing[np.clip(month, 0, spec.months)]))


def _in_order(name: str, columns: Columns) -> Columns:
    order = np.argsort(columns["ingested_at"], kind="stable")
    return {column: values[order] for column, values in _arranged(name, columns).items()}


def _arranged(name: str, columns: Columns) -> Columns:
    """Ids first, times of delivery last, as people expect to find them."""
    keys = [key for key in TABLES[name].key if key in columns]
    middle = [column for column in columns if column not in (*keys, "ingested_at")]
    return {column: columns[column] for column in (*keys, *middle, "ingested_at")}


def _write_usage(
    history: History,
    delays: Delays,
    folder: Path,
    ids: NDArray[np.bytes_],
    pool: ThreadPoolExecutor,
    tell: Progress,
) -> int:
    """A month at a time: rows that are delivered later wait for the file of that month."""
    spec, timeline = history.spec, history.timeline
    missing = [preset == "missing_feed" and spec.feed == "usage" for preset in spec.month_presets()]
    ahead = settings().threads + 1
    made: dict[int, Future[Columns]] = {}
    waiting: list[Columns] = []
    written = 0
    for month in range(spec.months):
        for later in range(month, min(month + ahead, spec.months)):
            if later not in made and not missing[later]:
                made[later] = pool.submit(usage_month, history, delays, later)
        if month in made:
            waiting.append(made.pop(month).result())
        if not waiting:
            continue
        rows = {column: np.concatenate([part[column] for part in waiting]) for column in waiting[0]}
        now = timeline.months_of(rows["ingested_at"]) <= month
        waiting = [take(rows, np.flatnonzero(~now))]
        rows = take(rows, np.flatnonzero(now))
        if count := len(rows["serial"]):
            write(arrow(rows, ids), folder / "usage" / f"{timeline.key(month)[:7]}.parquet")
            written += count
        tell("usage", (month + 1) / spec.months)
    return written
