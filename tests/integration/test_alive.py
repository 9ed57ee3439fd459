"""New months carry themselves: a running demo, new files, and nobody's hand. Watched through GraphQL and the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import CHECKOUT, churn

pytestmark = [pytest.mark.e2e, pytest.mark.servers]

RUNS = "query { runsOrError(limit: 100) { ... on Runs { results { runId status tags { key value } } } } }"


@dataclass(frozen=True)
class Up:
    """A demo that stays up."""

    home: Path
    service: str
    dagster: str
    key: str

    def runs(self) -> list[dict[str, Any]]:
        """All runs that Dagster knows, the newest first, each with its tags as a mapping."""
        answer = httpx.post(f"{self.dagster}/graphql", json={"query": RUNS}, timeout=30).json()
        found = answer["data"]["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def get(self, path: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.service}{path}", headers={"X-API-Key": self.key}, timeout=30)
        answer.raise_for_status()
        return dict(answer.json())

    def predict(self, customer: str) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.service}/v1/predict",
            headers={"X-API-Key": self.key},
            json={"customer_id": customer},
            timeout=30,
        )
        answer.raise_for_status()
        return dict(answer.json())

    @property
    def version(self) -> str:
        return str(self.get("/v1/models")["models"][0]["version"])

    def ref(self, asset: str, partition: str = "@") -> dict[str, Any]:
        return dict(json.loads((self.home / "refs" / asset / f"{partition}.json").read_text()))

    @property
    def months(self) -> list[str]:
        return sorted(path.stem for path in (self.home / "refs" / "diagnosis").glob("*.json"))

    def wait(self, what: str, until: Callable[[], bool], seconds: float = 300) -> float:
        """Wait until it is so; the seconds that it took."""
        began = time.monotonic()
        while not until():
            spent = time.monotonic() - began
            assert spent < seconds, f"{what}: not within {seconds:.0f} s; {self._state()}"
            time.sleep(1)
        return time.monotonic() - began

    def rest(self, quiet: float = 8) -> None:
        """Wait until no run is under way, and none has begun for a while."""
        began = last = time.monotonic()
        count = -1
        while time.monotonic() - last < quiet:
            assert time.monotonic() - began < 300, self._state()
            runs = self.runs()
            if any(run["status"] not in ("SUCCESS", "FAILURE") for run in runs) or len(runs) != count:
                count, last = len(runs), time.monotonic()
            time.sleep(1)

    def _state(self) -> str:
        log = (self.home / "logs" / "dagster-daemon.log").read_text()[-3000:]
        return (
            f"runs {[(run['runId'][:8], run['status'], run['tags'].get('churn/reason')) for run in self.runs()]}\n{log}"
        )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A demo with its daemon, sensors looking every three seconds."""
    home = tmp_path_factory.mktemp("alive") / "churn"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CHURN_", "DAGSTER_"))}
    env |= {"CHURN_HOME": str(home), "CHURN_SENSOR_SECONDS": "3"}
    said = home.parent / "said.txt"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "churn_platform.cli.main", "demo", "--customers", "1500", "--months", "14",
                "--service-port", "0", "--dagster-port", "0", "--json",
            ],
            env=env,
            cwd=CHECKOUT,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        answer = _answer(process, said)
        made = churn("keys", "create", "test", "--role", "admin", "--json", home=home)
        yield Up(home, answer["urls"]["service"], answer["urls"]["dagster"], json.loads(made.stdout)["secret"])
    finally:
        family = [process.pid, *[child.pid for child in psutil.Process(process.pid).children(recursive=True)]]
        process.terminate()
        process.wait(60)
        left = [pid for pid in family if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        assert not left, "an orphan"


def _answer(process: subprocess.Popen[bytes], said: Path) -> dict[str, Any]:
    for _ in range(400):
        lines = [line for line in said.read_text(errors="replace").splitlines() if line.startswith("{")]
        if lines:
            return dict(json.loads(lines[-1]))
        assert process.poll() is None, said.read_text()[-3000:]
        time.sleep(0.5)
    raise AssertionError(said.read_text()[-3000:])


def _advance(up: Up, preset: str) -> list[str]:
    """Let a month pass; the months that there were before."""
    before = up.months
    done = churn("simulate", "advance", "--months", "1", "--preset", preset, home=up.home)
    assert done.returncode == 0, done.stderr
    return before


def _carried(up: Up, before: list[str]) -> str:
    """Wait until the new month is diagnosed and everything has come to rest; its key."""
    up.wait("a diagnosis of the new month", lambda: len(up.months) > len(before))
    up.rest()
    (month,) = set(up.months) - set(before)
    return month


def _trained(up: Up) -> list[dict[str, Any]]:
    return [run for run in up.runs() if run["tags"].get("dagster/sensor_name") in ("drift", "new_labels")]


def test_three_usual_months_are_scored_and_nothing_is_learned(up: Up) -> None:
    up.rest()
    assert _trained(up) == [], "a first fill asks for nothing"
    remade = 0
    for _ in range(3):
        made, columns = up.ref("customer_features", up.months[-1])["run_id"], up.ref("feature_catalogue")["digest"]
        month = _carried(up, _advance(up, "none"))
        assert up.ref("scores_current")["month"] == month
        assert up.ref("diagnosis", month)["kind"] in ("healthy", "covariate_shift")
        if up.ref("customer_features", up.months[-2])["run_id"] != made:
            remade += 1
            assert up.ref("feature_catalogue")["digest"] != columns, (
                "an earlier month is made again for new columns only"
            )
    assert remade <= 1, "what is overwritten in place has been seen often enough once"
    assert _trained(up) == []
    assert up.version == "1"
    assert {run["status"] for run in up.runs()} == {"SUCCESS"}


def test_a_price_shock_leads_to_another_champion(up: Up) -> None:
    before = _advance(up, "price_shock")
    spent = up.wait("another champion", lambda: up.version == "2")
    assert spent < 300
    month = _carried(up, before)
    (run,) = _trained(up)
    assert run["tags"]["churn/month"] == month
    assert "were expected" in run["tags"]["churn/reason"]
    champion = up.ref("champion")
    assert champion["cause"]["churn/report"] == run["tags"]["churn/report"]
    assert champion["run_id"] == run["runId"]
    assert up.ref("scores_current")["version"] == "2", "the list follows"
    assert up.ref("diagnosis", month)["kind"] != "calibration_lost"


def test_a_missing_feed_is_told_and_marked(up: Up) -> None:
    import pyarrow.parquet as pq

    trained, version = _trained(up), up.version
    month = _carried(up, _advance(up, "missing_feed"))
    assert up.ref("diagnosis", month)["feeds"] == ["usage"]
    up.wait("an alert", lambda: bool(_alerts(up)), 60)
    (alert,) = _alerts(up)
    assert alert["kind"] == "data_fault"
    assert alert["feed"] == "usage"
    assert alert["month"] == month
    assert _trained(up) == trained, "nothing is learned from it"
    assert up.version == version
    accounts = pq.read_table(up.home / "sources" / "churn" / "simulated" / "accounts.parquet")["account_id"]
    answer = _first_known(up, accounts.to_pylist())
    assert answer["degraded"]["feeds"] == ["usage"]


def _alerts(up: Up) -> list[dict[str, Any]]:
    return list(json.loads(churn("alerts", "--json", home=up.home).stdout)["alerts"])


def _first_known(up: Up, customers: list[str]) -> dict[str, Any]:
    for customer in customers:
        try:
            return up.predict(customer)
        except httpx.HTTPStatusError:
            continue
    raise AssertionError("nobody is online")
