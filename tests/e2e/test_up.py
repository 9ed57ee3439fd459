"""``churn up`` on a home that a demo has made: everything runs, is started again, tells others, and stops in order."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.conftest import CHECKOUT, PORTS, Demo, churn
from tests.e2e.test_crash import _nothing_is_half_written, _running
from tests.orchestration.daemon import copy_of
from tests.outlets.receiver import receiver

pytestmark = pytest.mark.e2e


def _status(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(churn("status", "--json", home=home).stdout)
    return found


def _until(done: Callable[[], bool], what: str, seconds: float = 150.0) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def _program(home: Path, name: str) -> dict[str, Any]:
    return next(program for program in _status(home)["programs"] if program["name"] == name)


def test_up_watch_tell_and_stop(demo: Demo, tmp_path: Path) -> None:
    home = copy_of(demo.home, tmp_path / "churn")
    with receiver() as hook:
        added = churn("outlets", "add", "webhook", hook.url, "--json", home=home)
        assert added.returncode == 0, added.stderr
        secret = json.loads(added.stdout)["secret"]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CHURN_", "DAGSTER_"))}
        env |= {"CHURN_HOME": str(home), "CHURN_OUTLET_PRIVATE_ADDRESSES": "true", "CHURN_OUTLET_SECONDS": "1"}
        with (tmp_path / "said").open("wb") as said:
            command = subprocess.Popen(
                [sys.executable, "-m", "churn_platform.cli.main", "up", *PORTS, "--json"],
                env=env, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip
        try:
            assert command.stdout is not None
            answer = json.loads(command.stdout.readline() or "{}")
            assert answer.get("status") == "ok", (tmp_path / "said").read_text()
            _until(lambda: _status(home)["ok"], "everything up")
            assert {p["name"] for p in _status(home)["programs"]} == {"service", "dagster-webserver", "dagster-daemon"}

            # What was announced by the demo, before there was an outlet, is not told; what comes now is.
            assert churn("outlets", "test", "webhook", home=home, **_only(env)).returncode == 0
            headers, body = hook.received[-1]
            assert Webhook(secret).verify(body, headers)["type"] == "outlet.test"
            pointer = json.loads((home / "refs" / "champion" / "@.json").read_bytes())
            (home / "refs" / "champion" / "@.json").write_text(
                json.dumps({**pointer, "promoted_at": "x", "version": "9"})
            )
            _until(lambda: len(hook.received) > 1, "the worker tells of another champion")
            (home / "refs" / "champion" / "@.json").write_text(json.dumps(pointer))
            headers, body = hook.received[1]
            told = Webhook(secret).verify(body, headers)
            assert (told["type"], told["data"]["version"]) == ("champion.changed", "9")

            other = churn("up", *PORTS, home=home)
            assert other.returncode == 1
            assert "holds this home" in other.stderr

            os.kill(_program(home, "service")["pid"], signal.SIGKILL)
            _until(lambda: _program(home, "service")["restarts"] == 1, "the service is started again")
            _until(lambda: _status(home)["ok"], "it answers again")

            findings = json.loads(
                churn("doctor", "--json", "--service-port", "0", "--dagster-port", "0", home=home).stdout
            )
            ill = [f for f in findings["findings"] if not f["ok"]]
            assert ill == []
            assert "service was started again" in churn("logs", "supervisor", home=home).stdout
        finally:
            command.send_signal(signal.SIGTERM)
            if command.stdout is not None:
                command.stdout.close()
            try:
                code = command.wait(timeout=60)
            except subprocess.TimeoutExpired:
                command.kill()
                raise
    assert code == 0, (tmp_path / "said").read_text()[-2000:]
    assert _running(home) == []
    assert not list((home / "run").glob("*.pid"))
    assert not list((home / "run").glob("supervisor-*.json"))
    assert churn("status", home=home).returncode == 1


def _only(env: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in env.items() if k.startswith("CHURN_OUTLET")}


@contextmanager
def _up(home: Path, said: Path) -> Iterator[None]:
    """``churn up`` whose sensors look every two seconds, stopped by SIGTERM: in order, and nothing is left."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CHURN_", "DAGSTER_"))}
    with said.open("ab") as stream:
        command = subprocess.Popen(
            [sys.executable, "-m", "churn_platform.cli.main", "up", *PORTS],
            env={**env, "CHURN_HOME": str(home), "CHURN_SENSOR_SECONDS": "2"},
            cwd=CHECKOUT,
            stdout=stream,
            stderr=stream,
        )
    try:
        _until(lambda: command.poll() is not None or _status(home)["ok"], "everything up")
        yield
    finally:
        command.terminate()
        try:
            code = command.wait(timeout=60)
        finally:
            command.kill()
    assert code == 0, said.read_text()[-2000:]
    assert _running(home) == []
    _nothing_is_half_written(home)


def _runs(home: Path) -> dict[str, str]:
    """Run id → status, as Dagster keeps them."""
    place = home / "dagster" / "storage" / "history" / "runs.db"
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT run_id, status FROM runs"))


def test_stopped_while_a_run_is_at_work_it_goes_on_when_it_is_up_again(demo: Demo, tmp_path: Path) -> None:
    home = copy_of(demo.home, tmp_path / "churn")
    done_before, months = set(_runs(home)), set((home / "refs" / "diagnosis").glob("*.json"))

    def new() -> dict[str, str]:
        return {run: status for run, status in _runs(home).items() if run not in done_before}

    with _up(home, tmp_path / "said"):
        advanced = churn("simulate", "advance", "--months", "1", home=home)
        assert advanced.returncode == 0, advanced.stderr
        _until(lambda: list(new().values()).count("STARTED") >= 2, "a part of the new month is being made")
    stopped = new()
    assert set((home / "refs" / "diagnosis").glob("*.json")) == months, "it was to be stopped before the month is made"

    with _up(home, tmp_path / "said"):
        _until(lambda: len(set((home / "refs" / "diagnosis").glob("*.json"))) > len(months), "the month is made")
        _until(lambda: set(new().values()) <= {"SUCCESS", "FAILURE", "CANCELED"}, "all runs have ended")
    ended = new()
    cut_off = [run for run, status in stopped.items() if status != "SUCCESS"]
    assert cut_off
    assert {ended[run] for run in cut_off} <= {"FAILURE", "CANCELED"}, "what was cut off is not said to have been done"
    assert "SUCCESS" in {status for run, status in ended.items() if run not in stopped}
