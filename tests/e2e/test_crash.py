"""A demo that is killed at three stages and run again ends as one that was left alone."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from churn_platform.cli.supervise import free_port
from tests.conftest import CHECKOUT, DEMO_ARGUMENTS, Demo, churn

pytestmark = pytest.mark.e2e

WITHIN = 10.0
"""Seconds after a kill until nothing is left."""


def _running(home: Path) -> list[str]:
    """The processes of a home, other than this one."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("CHURN_HOME") == str(home)
            if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.Error, OSError):
            continue
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _kill_when(home: Path, ports: tuple[int, int], reached: Callable[[str], bool], log: Path) -> str:
    """Start a demo, kill it (SIGKILL) when its stage is reached, and wait until nothing is left; what it said."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CHURN_", "DAGSTER_"))}
    options = ["--service-port", str(ports[0]), "--dagster-port", str(ports[1]), "--exit", "--json"]
    with log.open("wb") as stream:
        command = subprocess.Popen(
            [sys.executable, "-m", "churn_platform.cli.main", "demo", *DEMO_ARGUMENTS, *options],
            env={**env, "CHURN_HOME": str(home)},
            cwd=CHECKOUT,
            stdout=stream,
            stderr=stream,
        )
    try:
        until = time.monotonic() + 240
        while not reached(log.read_text(errors="replace")):
            assert command.poll() is None, f"it ended before its stage: {log.read_text(errors='replace')[-2000:]}"
            assert time.monotonic() < until, log.read_text(errors="replace")[-2000:]
            time.sleep(0.02)
    finally:
        command.kill()
        command.wait()
    killed = time.monotonic()
    while (left := _running(home)) or not all(_is_free(port) for port in ports):
        assert time.monotonic() - killed < WITHIN, f"left after {WITHIN:.0f} s: {left}, ports {ports}"
        time.sleep(0.1)
    return log.read_text(errors="replace")


def test_killed_at_three_stages_it_ends_well(demo: Demo, tmp_path: Path) -> None:
    home, ports, log = tmp_path / "churn", (free_port(), free_port()), tmp_path / "said"

    said = _kill_when(home, ports, lambda text: "done sources/" in text, log)
    assert "cross_rules" not in said, "it was to be killed while the sources are made"

    def trains(text: str) -> bool:
        if "done training_set" not in text:
            return False
        time.sleep(0.5)
        return True

    said = _kill_when(home, ports, trains, log)
    assert "done challenger" not in said, "it was to be killed while it trains"

    said = _kill_when(home, ports, lambda _: any((home / "run").glob("service-*.pid")), log)
    assert "Start the service" not in said, "it was to be killed while the service starts"
    assert "done champion_bento" in said, "the third run goes on where the second was killed"

    done = churn(
        "demo", *DEMO_ARGUMENTS, "--service-port", str(ports[0]), "--dagster-port", str(ports[1]), "--exit", "--json",
        home=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["status"] == "ok"
    assert answer["materialized"] == [], "what was made before the last kill is whole"
    assert answer["champion"]["digest"] == demo.answer["champion"]["digest"]
    assert answer["evaluation"]["auc"] == demo.answer["evaluation"]["auc"]
    _nothing_is_half_written(home)
    _dagster_has_closed_the_runs(home)


def _nothing_is_half_written(home: Path) -> None:
    for file in (home / "store" / "objects").rglob("*"):
        if file.is_file():
            assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name, file
    for file in (home / "refs").rglob("*.json"):
        digest = json.loads(file.read_bytes())["digest"]
        assert (home / "store" / "objects" / digest[:2] / digest).is_file(), file
    assert not list((home / "run").glob("*.pid"))
    assert not list((home / "run").glob("supervisor-*.json"))
    assert not list((home / "run").glob("bentoml-*"))


def _dagster_has_closed_the_runs(home: Path) -> None:
    import sqlite3

    runs = home / "dagster" / "storage" / "history" / "runs.db"
    with sqlite3.connect(f"file:{runs}?mode=ro", uri=True) as connection:
        states = dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status"))
    connection.close()
    assert set(states) <= {"SUCCESS", "CANCELED", "FAILURE"}, states
    assert states.get("CANCELED", 0) + states.get("FAILURE", 0) >= 2, "the runs that were killed are closed"
