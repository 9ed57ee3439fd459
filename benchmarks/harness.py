"""Measure, judge against a goal, and say how busy the machine was.

A figure is one JSON object a line: ``benchmark, metric, value, unit, goal, held, against, ratio, load,
machine``. Ratios of one run are always judged. An absolute time that was taken while others used more than 10
% of the CPU is taken again, and after that not judged (``held`` is null). Fields may be added, never renamed.
"""

from __future__ import annotations

import json
import operator
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

BUSY = 0.10
"""Share of the CPU that others may use while an absolute figure is taken."""
_OPERATORS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Goal:
    """``value op limit`` must hold, such as ``Goal("<=", 180)``."""

    op: str
    limit: float

    def __post_init__(self) -> None:
        if self.op not in _OPERATORS:
            raise ValueError(f"a goal compares by <= or >=, not by {self.op!r}")

    def holds(self, value: float) -> bool:
        return _OPERATORS[self.op](value, self.limit)

    def __str__(self) -> str:
        return f"{self.op} {self.limit:g}"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Args:
        held: whether the goal holds; None where there is no goal, or the machine was too busy to judge.
        against: figures of named alternatives in the same unit and run.
        ratio: what the goal of a comparison is about, such as our value over the alternative's.
        load: share of the CPU that others used meanwhile, in [0, 1].
    """

    benchmark: str
    metric: str
    value: float
    unit: str
    goal: str | None
    held: bool | None
    against: Mapping[str, float]
    ratio: float | None
    load: float
    machine: Mapping[str, float] = field(default_factory=lambda: machine())

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def to_text(self) -> str:
        mark = {True: "holds", False: "falls short", None: "not judged" if self.goal else "no goal"}[self.held]
        peers = "".join(f", {name} {value:.4g}" for name, value in self.against.items())
        ratio = f", ratio {self.ratio:.3g}" if self.ratio is not None else ""
        goal = f" (goal {self.goal}: {mark})" if self.goal else ""
        value = f"{self.benchmark}.{self.metric} = {self.value:.4g} {self.unit}"
        return f"{value}{peers}{ratio}{goal}, load {self.load:.0%}"


def machine() -> dict[str, float]:
    """Cores that this process may use, and the machine's memory in GiB."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return {"cores": cores, "memory_gib": round(psutil.virtual_memory().total / 2**30, 1)}


class Meter:
    """How much of the CPU others used between :meth:`start` and :meth:`stop`."""

    def __init__(self) -> None:
        self.load = 0.0
        self._busy = self._own = self._wall = 0.0

    def start(self) -> None:
        self._busy, self._own, self._wall = _busy_seconds(), _own_seconds(), time.perf_counter()

    def stop(self) -> float:
        """The share, in [0, 1]."""
        wall = max(time.perf_counter() - self._wall, 1e-9)
        others = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        self.load = min(max(others / (wall * (psutil.cpu_count() or 1)), 0.0), 1.0)
        return self.load


@contextmanager
def metered() -> Iterator[Meter]:
    meter = Meter()
    meter.start()
    try:
        yield meter
    finally:
        meter.stop()


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _own_seconds() -> float:
    """CPU seconds of this process, of its running children, and of those it has waited for."""
    total = 0.0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += sum(times[:4])
    return total


class Bench:
    """What a benchmark module's ``run`` gets: the makers of its figures."""

    def __init__(self, name: str, *, attempts: int = 3, pause: float = 5.0) -> None:
        self.name, self.attempts, self.pause = name, attempts, pause

    def absolute(
        self,
        metric: str,
        measure: Callable[[], float],
        *,
        unit: str,
        goal: Goal | None = None,
        against: Mapping[str, float] | None = None,
        always_judged: bool = False,
    ) -> Figure:
        """Take a figure; again, up to ``attempts`` times, while others keep the machine busy.

        Args:
            measure: takes the figure once and returns it.
            always_judged: the figure does not depend on the load (a size, a share of rows, an AUC).
        """
        value, load = 0.0, 1.0
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause)
            with metered() as meter:
                value = measure()
            load = meter.load
            if load <= BUSY or always_judged or goal is None:
                break
        judged = goal is not None and (always_judged or load <= BUSY)
        held = goal.holds(value) if goal is not None and judged else None
        return self._figure(metric, value, unit, goal, held, against or {}, None, load)

    def worst(self, metric: str, parts: Mapping[str, Figure], *, unit: str, goal: Goal) -> Figure:
        """The largest of several figures of one kind; judged only where all of them are."""
        value = max(one.value for one in parts.values())
        judged = all(one.held is not None for one in parts.values())
        against = {name: one.value for name, one in parts.items()}
        load = max(one.load for one in parts.values())
        return self._figure(metric, value, unit, goal, goal.holds(value) if judged else None, against, None, load)

    def ratio(
        self,
        metric: str,
        value: float,
        *,
        unit: str,
        against: Mapping[str, float],
        ratio: float,
        goal: Goal | None = None,
        load: float = 0.0,
    ) -> Figure:
        """A comparison within one run: its ``ratio`` is what the goal judges, however busy the machine is."""
        held = goal.holds(ratio) if goal is not None else None
        return self._figure(metric, value, unit, goal, held, against, ratio, load)

    def _figure(
        self,
        metric: str,
        value: float,
        unit: str,
        goal: Goal | None,
        held: bool | None,
        against: Mapping[str, float],
        ratio: float | None,
        load: float,
    ) -> Figure:
        facts: dict[str, Any] = {"against": dict(against), "ratio": ratio, "load": round(load, 3)}
        return Figure(self.name, metric, float(value), unit, str(goal) if goal else None, held, **facts)
