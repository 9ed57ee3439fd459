from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.__main__ import available, main
from benchmarks.harness import BUSY, Bench, Goal, _own_seconds, metered

FIELDS = ["benchmark", "metric", "value", "unit", "goal", "held", "against", "ratio", "load", "machine"]


def bench_with_load(monkeypatch: pytest.MonkeyPatch, loads: list[float]) -> tuple[Bench, list[float]]:
    """A bench on a machine where others use ``loads``, one after the other."""
    pauses: list[float] = []
    left = iter(loads)
    monkeypatch.setattr("benchmarks.harness.Meter.stop", lambda self: setattr(self, "load", next(left)))
    monkeypatch.setattr("benchmarks.harness.time.sleep", pauses.append)
    return Bench("some", attempts=len(loads)), pauses


def test_a_figure_is_one_json_object_of_the_agreed_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = bench_with_load(monkeypatch, [0.02])
    line = bench.absolute("seconds", lambda: 1.5, unit="s", goal=Goal("<=", 2)).to_json()
    said = json.loads(line)
    assert list(said) == FIELDS
    assert "\n" not in line
    assert (said["value"], said["goal"], said["held"], said["load"]) == (1.5, "<= 2", True, 0.02)
    assert said["machine"]["cores"] >= 1
    assert said["machine"]["memory_gib"] > 0


def test_a_missed_goal_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = bench_with_load(monkeypatch, [0.0])
    assert bench.absolute("seconds", lambda: 3.0, unit="s", goal=Goal("<=", 2)).held is False


def test_a_busy_machine_is_tried_again_and_then_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, pauses = bench_with_load(monkeypatch, [0.5, BUSY + 0.01, 0.3])
    figure = bench.absolute("seconds", lambda: 1.0, unit="s", goal=Goal("<=", 2))
    assert figure.held is None
    assert len(pauses) == 2
    bench, _ = bench_with_load(monkeypatch, [0.5, BUSY])
    assert bench.absolute("seconds", lambda: 1.0, unit="s", goal=Goal("<=", 2)).held is True


def test_ratios_and_sizes_are_judged_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = bench_with_load(monkeypatch, [0.9])
    size = bench.absolute("rss", lambda: 7.0, unit="GiB", goal=Goal("<=", 6), always_judged=True)
    assert size.held is False
    ratio = bench.ratio("rows", 50.0, unit="rows/s", against={"loop": 5.0}, ratio=10.0, goal=Goal(">=", 10), load=0.9)
    assert (ratio.held, ratio.ratio, ratio.against) == (True, 10.0, {"loop": 5.0})


def test_own_work_is_no_load_and_the_work_of_others_is() -> None:
    began, own = time.process_time(), _own_seconds()
    while time.process_time() < began + 0.3:
        pass
    assert _own_seconds() - own > 0.25
    # a grandchild of a program that has exited is nobody's child: its work is that of others
    code = "import os, time\nif os.fork(): os._exit(0)\nend = time.time() + 1.2\nwhile time.time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    with metered() as meter:
        time.sleep(0.8)
    assert 0.2 / (psutil.cpu_count() or 1) < meter.load <= 1.0


def test_goals_compare_by_what_they_say() -> None:
    assert Goal("<=", 2).holds(2.0)
    assert not Goal(">=", 2).holds(1.9)
    with pytest.raises(ValueError, match="<= or >="):
        Goal("<", 2)


def test_benchmarks_are_found_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert available()["simulator"]
    assert "harness" not in available()
    assert main(["--list"]) == 0
    assert "simulator" in capsys.readouterr().out
    assert main(["no_such"]) == 2
    assert "no_such" in capsys.readouterr().err
