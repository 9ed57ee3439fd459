"""The simulator: speed, memory, a comparison with a loop over rows, and the AUC of its state oracle."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, Figure, Goal, metered

CHILD = """
import json, resource, sys, time
from pathlib import Path
from churn_platform.sources.simulator.simulate import simulate
from churn_platform.sources.simulator.spec import SimulationSpec
began = time.perf_counter()
made = simulate(SimulationSpec(accounts=int(sys.argv[1]), months=int(sys.argv[2])), Path(sys.argv[3]))
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({"seconds": time.perf_counter() - began, "rows": sum(made.rows.values()),
                  "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}))
"""
ORACLE_GOALS = {"default": 0.89, "medium": 0.80, "hard": 0.72}


def run(bench: Bench) -> Iterator[Figure]:
    small: dict[str, Any] = {}
    large: dict[str, Any] = {}

    def seconds(accounts: int, months: int, into: dict[str, Any]) -> float:
        into.update(_simulate(accounts, months))
        return float(into["seconds"])

    yield bench.absolute("seconds_5k_18", lambda: seconds(5_000, 18, small), unit="s", goal=Goal("<=", 5))
    yield bench.absolute("seconds_50k_24", lambda: seconds(50_000, 24, large), unit="s", goal=Goal("<=", 180))
    yield bench.absolute(
        "rss_50k_24", lambda: float(large["gib"]), unit="GiB", goal=Goal("<=", 6), always_judged=True
    )
    with metered() as meter:
        ours = small["rows"] / _simulate(5_000, 18)["seconds"]
        loop = _rows_per_second_of_a_loop()
    yield bench.ratio(
        "rows_per_second",
        ours,
        unit="rows/s",
        against={"python_loop": loop},
        ratio=ours / loop,
        goal=Goal(">=", 10),
        load=meter.load,
    )
    for difficulty, aim in ORACLE_GOALS.items():
        yield bench.absolute(
            f"oracle_auc_error_{difficulty}",
            partial(_oracle_error, difficulty, aim),
            unit="AUC",
            goal=Goal("<=", 0.01),
            always_judged=True,
        )


def _oracle_error(difficulty: str, aim: float) -> float:
    return abs(oracle_auc(difficulty) - aim)


def _simulate(accounts: int, months: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(accounts), str(months), str(Path(folder) / "out")],
            check=True,
            capture_output=True,
            text=True,
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _rows_per_second_of_a_loop(rows: int = 20_000) -> float:
    """The same eight counts a row, drawn one at a time with the standard library; nothing is written."""
    draw = random.Random(7)  # noqa: S311 (no secret)
    began = time.perf_counter()
    for _ in range(rows):
        mood = draw.gammavariate(3.0, 1 / 3)
        seats = (
            draw.binomialvariate(8, 0.5)
            if hasattr(draw, "binomialvariate")
            else sum(draw.random() < 0.5 for _ in range(8))
        )
        for rate in (1.5, 7.0, 24.0, 1.2, 3.0, 0.2):
            max(round(draw.gauss(rate * seats * mood, (rate * seats * mood) ** 0.5)), 0)
        draw.lognormvariate(1.0, 0.8)
    return rows / (time.perf_counter() - began)


def oracle_auc(difficulty: str, *, accounts: int = 20_000, months: int = 12, seed: int = 7) -> float:
    """AUC of the state oracle on voluntary churn, over the last months; involuntary leavers are censored."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from churn_platform.sources.simulator.oracle import HORIZON_DAYS, month_oracle
    from churn_platform.sources.simulator.slots import VOLUNTARY
    from churn_platform.sources.simulator.spec import SimulationSpec
    from churn_platform.sources.simulator.state import Company
    from churn_platform.sources.simulator.timeline import Timeline

    spec = SimulationSpec(accounts, months, seed, difficulty=difficulty)
    company = Company(spec, Timeline(spec.start, spec.months))
    history = company.run()
    gone = history.departures.table()
    kind = np.full(len(history.accounts), -1)
    kind[gone["serial"]] = gone["kind"]
    chances, outcomes = [], []
    for month in range(2, months - 1):
        state = month_oracle(history, company.weights(month), month)
        serial, day = state["serial"], int(history.timeline.month_starts[month])
        left = (history.end_day[serial] >= day) & (history.end_day[serial] < day + HORIZON_DAYS)
        counted = ~left | (kind[serial] == VOLUNTARY)
        chances.append(state["p_voluntary"][counted])
        outcomes.append(left[counted])
    return float(roc_auc_score(np.concatenate(outcomes), np.concatenate(chances)))
