"""Unattended: 24 months in a row carried by the daemon alone; failed runs, learnings, memory, processes, disk.

A simulated company lives through a price shock and its end, a month without one feed, and changed reasons to leave,
with quiet months between. Nobody does anything but let the months pass. Takes about half an hour on two free cores; one
line for each month goes to stderr. ``UNATTENDED_MONTHS`` and ``UNATTENDED_CUSTOMERS`` make it shorter, for a look.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import Bench, Figure, Goal

CHECKOUT = Path(__file__).resolve().parent.parent
CUSTOMERS, HISTORY, SEED = 3000, 14, 5
PLAN = (
    *("none",) * 6,
    *("price_shock",) * 4,
    *("none",) * 5,
    "missing_feed",
    *("none",) * 3,
    *("concept_shift",) * 5,
)
DESERVED = {"recalibrations": 3, "trainings": 6}
"""The shock, its end, and what the changed reasons do to the level before they can be told apart; the changed reasons
themselves, and one training for each six months of age, as the setting says, with one to spare."""
WARM = 3
"""Months after which a process holds what it will hold."""
DISK_RATIO, DISK_FLOOR = 1.5, 0.5
"""A month of the last third may add so many times what one of the second third adds, beside the data itself; less than
the floor, in MB, counts as the floor: it is noise."""
QUIET = 10.0
PATIENCE = 900.0
ANSWER_EVERY = 0.2
RUNS = (
    "query { runsOrError(limit: 1000) { ... on Runs { results "
    "{ runId status jobName assetSelection { path } tags { key value } } } } }"
)


@dataclass
class Month:
    """How things stood when everything had come to rest after a month.

    Attributes:
        processes: ids of the demo and of all that it has started.
        rss: MB by role.
        disk: MB by folder of the home.
        beside: MB by which the home has grown in the month beside its data: the sources, and the new objects of the
            store that are the month's.
    """

    key: str
    preset: str
    diagnosis: str
    version: str
    seconds: float
    processes: int
    rss: dict[str, float]
    disk: dict[str, float]
    beside: float


@dataclass
class Asking:
    """A customer success tool that never stops asking."""

    url: str
    key: str
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        import httpx

        with httpx.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=30) as client:
            while not self._over.wait(ANSWER_EVERY):
                began = time.perf_counter()
                try:
                    answer = client.post("/v1/predict", json={"features": {"mrr": 100.0}})
                    if answer.status_code != 200:
                        self.failed.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.failed.append(f"{type(error).__name__}: {error}")
                self.answered += 1
                self.slowest = max(self.slowest, time.perf_counter() - began)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


class Company:
    """A demo that stays up, in a home of its own."""

    def __init__(self, root: Path, customers: int) -> None:
        self.home = root / "home"
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("CHURN_", "DAGSTER_"))}
        self.env = {**variables, "CHURN_HOME": str(self.home), "CHURN_SENSOR_SECONDS": "2"}
        said = root / "said.txt"
        with said.open("wb") as stream:
            self.process = subprocess.Popen(
                [
                    *self._command("demo", "--customers", str(customers), "--months", str(HISTORY)),
                    *("--seed", str(SEED), "--service-port", "0", "--dagster-port", "0", "--json"),
                ],
                env=self.env,
                cwd=CHECKOUT,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.urls = self._answer(said)["urls"]
        self.key = str(self.churn("keys", "create", "bench", "--role", "admin")["secret"])

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "churn_platform.cli.main", *arguments]

    def _answer(self, said: Path) -> dict[str, Any]:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            for line in said.read_text(errors="replace").splitlines():
                if line.startswith("{"):
                    return dict(json.loads(line))
            if self.process.poll() is not None:
                break
            time.sleep(0.5)
        raise RuntimeError(f"the demo did not come up: {said.read_text(errors='replace')[-3000:]}")

    def churn(self, *arguments: str) -> dict[str, Any]:
        """A command's JSON answer."""
        done = subprocess.run(
            self._command(*arguments, "--json"), env=self.env, cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"churn {' '.join(arguments)}: {done.stderr[-2000:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def runs(self) -> list[dict[str, Any]]:
        """The runs that Dagster knows, each with its tags as a mapping and its assets as a set of names."""
        import httpx

        answer = httpx.post(f"{self.urls['dagster']}/graphql", json={"query": RUNS}, timeout=60).json()
        return [
            {
                **run,
                "tags": {tag["key"]: tag["value"] for tag in run["tags"]},
                "assets": {"/".join(key["path"]) for key in run["assetSelection"] or ()},
            }
            for run in answer["data"]["runsOrError"]["results"]
        ]

    def ref(self, asset: str, partition: str = "@") -> dict[str, Any]:
        return dict(json.loads((self.home / "refs" / asset / f"{partition}.json").read_text()))

    def months(self) -> list[str]:
        return sorted(path.stem for path in (self.home / "refs" / "diagnosis").glob("*.json"))

    def pass_month(self, preset: str) -> Month:
        """Let a month pass, and wait until the platform has come to rest."""
        objects = set(self._objects())
        disk = self._disk()
        before, began = self.months(), time.monotonic()
        self.churn("simulate", "advance", "--months", "1", "--preset", preset)
        self._wait("a diagnosis of the new month", lambda: len(self.months()) > len(before))
        moved = self._rest()
        (key,) = set(self.months()) - set(before)
        now = self._disk()
        grown = sum(now.values()) - sum(disk.values()) - (now.get("sources", 0.0) - disk.get("sources", 0.0))
        family = _family(self.process.pid)
        rss: Counter[str] = Counter()
        for role, megabytes in family:
            rss[role] += megabytes
        return Month(
            key=key,
            preset=preset,
            diagnosis=str(self.ref("diagnosis", key)["kind"]),
            version=str(self.ref("champion")["version"]),
            seconds=moved - began,
            processes=len(family),
            rss=dict(rss),
            disk=now,
            beside=grown - self._data_of(key, objects),
        )

    def _disk(self) -> dict[str, float]:
        """MB by folder of the home."""
        return {folder.name: _size(folder) / 2**20 for folder in self.home.iterdir() if folder.is_dir()}

    def _objects(self) -> dict[str, Path]:
        """The objects of the store by digest."""
        return {path.name: path for path in (self.home / "store" / "objects").glob("*/*")}

    def _data_of(self, key: str, before: set[str]) -> float:
        """MB of the objects that were not there before and that the month's references name."""
        told = "".join(path.read_text() for path in (self.home / "refs").rglob(f"{key}.json"))
        new = set(re.findall(r"\b[0-9a-f]{64}\b", told)) - before
        return sum(path.lstat().st_blocks * 512 for name, path in self._objects().items() if name in new) / 2**20

    def _rest(self) -> float:
        """Wait until no run is under way and none begins for a while; when the last one had ended."""
        last, count = time.monotonic(), -1
        began = last
        while time.monotonic() - last < QUIET:
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError("it does not come to rest")
            runs = self.runs()
            if len(runs) != count or any(run["status"] not in ("SUCCESS", "FAILURE", "CANCELED") for run in runs):
                count, last = len(runs), time.monotonic()
            time.sleep(0.5)
        return last

    def _wait(self, what: str, until: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not until():
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"no {what} within {PATIENCE:.0f} s")
            time.sleep(0.5)

    def stop(self) -> int:
        """End the demo in order; how many of its processes are left."""
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.terminate()
        self.process.wait(60)
        _, alive = psutil.wait_procs(family, timeout=10)
        for process in alive:
            process.kill()
        return len(alive)


def run(bench: Bench) -> Iterator[Figure]:
    months = int(os.environ.get("UNATTENDED_MONTHS", len(PLAN)))
    customers = int(os.environ.get("UNATTENDED_CUSTOMERS", CUSTOMERS))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the demo is ended in order then, too
    with tempfile.TemporaryDirectory() as folder:
        company = Company(Path(folder), customers)
        left = -1
        try:
            asking = Asking(company.urls["service"], company.key)
            lived = []
            for preset in PLAN[:months]:
                lived.append(company.pass_month(preset))
                print(_line(lived[-1]), file=sys.stderr, flush=True)
            asking.stop()
            runs = company.runs()
            alerts = company.churn("alerts", "--all", "--last", "1000")["alerts"]
        finally:
            left = company.stop()
    yield from figures(bench, lived, runs, alerts, asking, left)


def figures(
    bench: Bench,
    lived: Sequence[Month],
    runs: Sequence[Mapping[str, Any]],
    alerts: Sequence[Mapping[str, Any]],
    asking: Asking,
    left: int,
) -> Iterator[Figure]:
    """What is claimed of it."""
    learning = [run for run in runs if run["tags"].get("dagster/sensor_name") in ("drift", "new_labels")]
    learning += [run for run in runs if run["tags"].get("dagster/schedule_name") == "monthly_training"]
    trainings = sum("challenger" in run["assets"] for run in learning)
    failed = [run for run in runs if run["status"] != "SUCCESS"]
    faults = [alert for alert in alerts if alert["kind"] == "data_fault"]
    warm = lived[min(WARM, len(lived) - 1) :]

    def count(metric: str, value: float, unit: str, goal: Goal | None = None) -> Figure:
        return bench.absolute(metric, lambda: value, unit=unit, goal=goal, always_judged=True)

    yield count("months_carried", len(lived), "months", Goal(">=", len(PLAN)))
    yield count("runs", len(runs), "runs")
    yield count("runs_failed", len(failed), "runs", Goal("<=", 0))
    yield count("trainings", trainings, "runs", Goal("<=", DESERVED["trainings"]))
    yield count("recalibrations", len(learning) - trainings, "runs", Goal("<=", DESERVED["recalibrations"]))
    yield count("data_fault_alerts", len(faults), "alerts", Goal("<=", sum(m.preset == "missing_feed" for m in lived)))
    yield count("seconds_a_month", statistics.median(month.seconds for month in lived), "s")
    yield count("seconds_worst_month", max(month.seconds for month in lived), "s", Goal("<=", 300))
    yield count("answers", asking.answered, "answers")
    yield count("answers_failed", len(asking.failed), "answers", Goal("<=", 0))
    yield count("slowest_answer", asking.slowest, "s")
    yield count("processes_more", warm[-1].processes - warm[0].processes, "processes", Goal("<=", 0))
    yield count("processes_left", left, "processes", Goal("<=", 0))
    for role in sorted(warm[-1].rss):
        held = [month.rss.get(role, 0.0) for month in warm]
        yield count(f"rss_{role}", held[-1], "MB")
        yield count(f"rss_{role}_more", _slope(held), "MB/month", Goal("<=", 5))
    yield from _growth(lived, count)
    for name in sorted(warm[-1].disk, key=lambda one: -warm[-1].disk[one]):
        yield count(f"disk_{name}", warm[-1].disk[name], "MB")
        yield count(f"disk_{name}_more", _slope([month.disk.get(name, 0.0) for month in warm]), "MB/month")


def _growth(lived: Sequence[Month], count: Callable[..., Figure]) -> Iterator[Figure]:
    """What a month adds beside its data, which must not grow from month to month. Medians: a month in which something
    is learned adds more."""
    third = len(lived) // 3
    if not third:
        return
    earlier = statistics.median(month.beside for month in lived[third : 2 * third])
    later = statistics.median(month.beside for month in lived[-third:])
    yield count("disk_beside_data_second_third", earlier, "MB/month")
    yield count("disk_beside_data_last_third", later, "MB/month")
    ratio = max(later, DISK_FLOOR) / max(earlier, DISK_FLOOR)
    yield count("disk_beside_data_ratio", ratio, "ratio", Goal("<=", DISK_RATIO))


def _slope(values: Sequence[float]) -> float:
    """Growth a month, by least squares; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    return float(statistics.linear_regression(range(len(values)), values).slope)


def _family(pid: int) -> list[tuple[str, float]]:
    """Role and MB of a process and of all that it has started; who ends while we look is not counted."""
    found = []
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one, too
            found.append((_role(process), process.memory_info().rss / 2**20))
    return found


def _role(process: psutil.Process) -> str:
    """Which server a process belongs to."""
    command = " ".join(process.cmdline())
    for word, role in {
        "grpc": "code_server",
        "webserver": "webserver",
        "daemon": "daemon",
        "bentoml": "service",
        "execute_run": "run",
    }.items():
        if word in command:
            return role
    return "demo" if "churn_platform.cli.main" in command else "other"


def _size(folder: Path) -> int:
    total, seen = 0, set()
    for file in folder.rglob("*"):
        try:
            facts = file.lstat()
        except FileNotFoundError:
            continue
        if facts.st_ino not in seen:  # hard links to the store count once
            seen.add(facts.st_ino)
            total += facts.st_blocks * 512
    return total


def _line(month: Month) -> str:
    disk = sum(size for name, size in month.disk.items() if name != "sources")
    return (
        f"{month.key} {month.preset:13} → {month.diagnosis:17} version {month.version:>2}  {month.seconds:5.0f} s  "
        f"{month.processes} processes, {sum(month.rss.values()):5.0f} MB, {disk:5.0f} MB on disk, "
        f"{month.beside:+.1f} beside its data"
    )
