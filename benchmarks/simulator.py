"""The simulator: speed, memory, a comparison with a loop over rows, and the AUC of its state oracle."""

from __future__ import annotations

import json
import math
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
    large: dict[str, Any] = {}

    def seconds(accounts: int, months: int, into: dict[str, Any]) -> float:
        into.update(_simulate(accounts, months))
        return float(into["seconds"])

    yield bench.absolute("seconds_5k_18", lambda: seconds(5_000, 18, {}), unit="s", goal=Goal("<=", 5))
    yield bench.absolute("seconds_50k_24", lambda: seconds(50_000, 24, large), unit="s", goal=Goal("<=", 180))
    yield bench.absolute("rss_50k_24", lambda: float(large["gib"]), unit="GiB", goal=Goal("<=", 6), always_judged=True)
    with metered() as meter:
        ours, loop = _usage_rows_per_second(), _rows_per_second_of_a_loop()
    yield bench.ratio(
        "usage_rows_per_second",
        ours,
        unit="rows/s",
        against={"python_loop": loop},
        ratio=ours / loop,
        goal=Goal(">=", 5),
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


def _usage_rows_per_second() -> float:
    """Rows of daily usage drawn by one thread; nothing is written."""
    from churn_platform.sources.simulator.delays import Delays
    from churn_platform.sources.simulator.spec import SimulationSpec
    from churn_platform.sources.simulator.state import Company
    from churn_platform.sources.simulator.timeline import Timeline
    from churn_platform.sources.simulator.usage import usage_month

    spec = SimulationSpec(accounts=5_000, months=2)
    timeline = Timeline(spec.start, spec.months)
    history, delays = Company(spec, timeline).run(), Delays(spec, timeline)
    began = time.perf_counter()
    rows = sum(len(usage_month(history, delays, month)["serial"]) for month in range(spec.months))
    return rows / (time.perf_counter() - began)


def _rows_per_second_of_a_loop(rows: int = 20_000) -> float:
    """The same counts, one row at a time with the standard library: rates from a state, a gamma for the day,
    seats, six counts (rounded normals, which is kinder to the loop than Poisson draws) and a delay."""
    draw = random.Random(7)  # noqa: S311 - nothing secret
    rates = ((1.5, 0.2), (7.0, 0.4), (24.0, 0.3), (1.2, 0.25), (3.0, 0.1), (0.2, -0.5))
    began = time.perf_counter()
    for _ in range(rows):
        health, mood = draw.gauss(0.0, 1.0), draw.gammavariate(3.0, 1 / 3)
        share = 1.0 / (1.0 + math.exp(-0.1 - 0.8 * health))
        seats = sum(draw.random() < share for _ in range(8))
        for level, slope in rates:
            rate = level * seats * mood * math.exp(slope * health)
            max(round(draw.gauss(rate, math.sqrt(rate))), 0)
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
