"""A run whose process was really killed is closed by the next look, and is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from churn_platform.records.home import Home
from resources.carry import why_not_now
from resources.orphans import BY_WORKER, at_work, end_orphans

HANGS = """
import sys, time
import dagster as dg
from resources.orphans import mark, mine

@dg.op
def hang(context):
    mark(context.instance, context.run)
    sys.stdout.write(context.run_id + "\\n")
    sys.stdout.flush()
    time.sleep(600)

@dg.job(executor_def=dg.in_process_executor)
def hanging():
    hang()

with dg.DagsterInstance.get() as found:
    hanging.execute_in_process(instance=found, tags=mine() if sys.argv[1] == "command" else {})
"""


@pytest.mark.parametrize(
    ("who", "ends"), [("command", dg.DagsterRunStatus.CANCELED), ("worker", dg.DagsterRunStatus.FAILURE)]
)
def test_a_killed_process_does_not_stand_in_the_way(
    who: str, ends: dg.DagsterRunStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.open(tmp_path / "home")
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, who],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        with process.stdout, dg.DagsterInstance.get() as found:
            assert why_not_now(found, home) == f"run {run_id[:8]} is under way"
            working = at_work(found)
            assert (working.run_id if working else None) == (run_id if who == "worker" else None)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            assert why_not_now(found, home) is None
            assert at_work(found) is None
            run = found.get_run_by_id(run_id)
            assert run is not None
            assert run.status == ends
            # What tries it again has its tags, and is not taken for it.
            again = dg.DagsterRun(job_name="hanging", status=dg.DagsterRunStatus.STARTED, tags=run.tags)
            if BY_WORKER in run.tags:
                found.add_run(again)
                assert end_orphans(found, daemon_is_down=False) == []
    finally:
        process.kill()
        process.wait(30)
