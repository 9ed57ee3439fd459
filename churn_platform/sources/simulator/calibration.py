"""Solve the base log-odds of ``presets.py`` for the segments' rates: ``python -m`` this module prints them.

Needed only after a change of the model: raise each segment's base by log(target / observed) until the rates
match.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator import state as engine
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.presets import DIFFICULTIES, SEGMENTS, VOLUNTARY_TARGET, Difficulty
from churn_platform.sources.simulator.spec import SimulationSpec
from churn_platform.sources.simulator.timeline import Timeline

MONTH_DAYS = 30.4375


def monthly_rates(history: History) -> NDArray[np.float64]:
    """Share of accounts that leave in a month: segments × (voluntary, involuntary)."""
    gone, who = history.departures.table(), history.accounts
    shown = gone["day"] >= 0
    leavers = np.zeros((len(SEGMENTS), 2))
    np.add.at(leavers, (who.segment[gone["serial"][shown]], gone["kind"][shown]), 1)
    weeks = sum(np.bincount(who.segment[week.serial], minlength=len(SEGMENTS)) for week in history.weeks)
    months = np.asarray(weeks, dtype=np.float64) * 7 / MONTH_DAYS
    rates: NDArray[np.float64] = leavers / np.maximum(months, 1e-9)[:, None]
    return rates


def run(spec: SimulationSpec, difficulty: Difficulty) -> History:
    company = engine.Company(spec, Timeline(spec.start, spec.months), difficulty=difficulty)
    return company.run()


def solve(name: str, *, accounts: int = 30_000, rounds: int = 6) -> Difficulty:
    """The difficulty ``name`` with bases that give ``VOLUNTARY_TARGET``."""
    difficulty = DIFFICULTIES[name]
    for field, preset, months in (("usual", "none", 18), ("shifted", "concept_shift", 6)):
        for turn in range(rounds):
            spec = SimulationSpec(accounts, months, seed=100 + turn, preset=preset, difficulty=name, drift_month=0)
            observed = monthly_rates(run(spec, difficulty))[:, 0]
            weights = getattr(difficulty, field)
            step = np.log(np.asarray(VOLUNTARY_TARGET) / np.maximum(observed, 1e-5))
            # the last rounds average out the noise of small segments
            base = np.asarray(weights.base) + step * (1.0 if turn < 2 else 0.5)
            difficulty = replace(difficulty, **{field: replace(weights, base=tuple(np.round(base, 2).tolist()))})
    return difficulty


if __name__ == "__main__":
    for difficulty_name in sys.argv[1:] or DIFFICULTIES:
        sys.stdout.write(f"{difficulty_name}: {solve(difficulty_name)}\n")
