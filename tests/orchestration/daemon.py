"""What the Dagster daemon does, in this process: evaluate the sensors, run what they ask for, one run at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from churn_platform import settings
from churn_platform.features.catalogue import catalogue_for
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.sources.location import load_location
from resources import runner
from sensors import all_sensors
from sensors.jobs import CARRIED_BY

SENSORS = ("new_data", "drift", "new_labels")
MOST_TICKS = 40
OF_A_MOMENT = frozenset({"scores_outlet", "feature_skew"})
"""What was published and what was compared: records with the moment in them, of lists and vectors that are equal."""
AGES_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC


@contextmanager
def entered(root: Path) -> Iterator[Home]:
    """This process in a home, as a command or a run of the daemon is."""
    from churn_platform.cli.environment import enter_home

    before = dict(os.environ)
    os.environ.pop("CHURN_AS_OF", None)
    os.environ["CHURN_HOME"] = str(root)
    os.environ["CHURN_SETTLE_SECONDS"] = "0"
    settings.reload()
    enter_home()
    try:
        yield Home.open(root)
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.reload()


def copy_of(home: Path, target: Path) -> Path:
    """A home of its own, with everything that is in ``home``."""
    return Path(shutil.copytree(home, target, symlinks=True))


def know(root: Path, company: Path) -> None:
    """Let the vault of a home know everybody in a simulated company: copies of the home then call newcomers the same,
    and their artifacts can be compared by digest."""
    import pyarrow.parquet as pq

    ids = pq.read_table(company / "accounts.parquet", columns=["account_id"])["account_id"].to_pylist()
    with entered(root) as home:
        IdentityVault.open(home).pseudonymise(sorted(ids))


@dataclass(frozen=True)
class Ran:
    """A run that a sensor has asked for, or a part of one.

    Attributes:
        assets: what it was to make; of a run that is made of parts, none.
    """

    sensor: str
    assets: frozenset[str]
    tags: dict[str, str]
    success: bool
    run_id: str


@dataclass
class Daemon:
    """Sensors with their cursors, and the run keys that have been asked for. Use it inside of :func:`entered`."""

    instance: dg.DagsterInstance
    home: Home
    cursors: dict[str, str | None] = field(default_factory=dict)
    keys: set[tuple[str, str]] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)

    def tick(self, sensor: dg.SensorDefinition) -> list[Ran]:
        """Evaluate one sensor and run what it asks for."""
        defs = runner.definitions()
        made = []
        for request in self._new(defs, sensor):
            self.keys.add((sensor.name, str(request.run_key)))
            made += self._run(defs, sensor, request)
        return made

    def asks(self, name: str) -> bool:
        """Whether a sensor would ask for a run now that it has not asked for before."""
        (sensor,) = [one for one in all_sensors() if one.name == name]
        return bool(self._new(runner.definitions(), sensor))

    def _new(self, defs: dg.Definitions, sensor: dg.SensorDefinition) -> list[dg.RunRequest]:
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(sensor.name), definitions=defs
        ) as context:
            found = sensor.evaluate_tick(context)
        if found.cursor is not None:
            self.cursors[sensor.name] = found.cursor
        self.skipped[sensor.name] = found.skip_message or ""
        return [one for one in found.run_requests or () if (sensor.name, str(one.run_key)) not in self.keys]

    def rest(self) -> list[Ran]:
        """Tick until no sensor asks for anything; all runs, in order."""
        sensors = [one for one in all_sensors() if one.name in SENSORS]
        ran: list[Ran] = []
        for _ in range(MOST_TICKS):
            made = [run for sensor in sensors for run in self.tick(sensor)]
            if not made:
                return ran
            ran += made
        raise AssertionError(f"the sensors do not come to rest: {[sorted(run.assets) for run in ran[-4:]]}")

    def _run(self, defs: dg.Definitions, sensor: dg.SensorDefinition, request: dg.RunRequest) -> list[Ran]:
        config: dict[str, Any] = {
            **(request.run_config or {}),
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        }
        result = defs.resolve_job_def(sensor.job_name).execute_in_process(
            instance=self.instance,
            asset_selection=request.asset_selection,
            tags={**request.tags, "dagster/run_key": str(request.run_key), "dagster/sensor_name": sensor.name},
            run_config=config,
            raise_on_error=False,
        )
        parts = self.instance.get_runs(dg.RunsFilter(tags={CARRIED_BY: result.run_id}))
        runs = [self.instance.get_run_by_id(result.run_id), *reversed(parts)]
        return [
            Ran(
                sensor.name,
                frozenset("/".join(key.path) for key in run.asset_selection or ()),
                dict(run.tags),
                run.status == dg.DagsterRunStatus.SUCCESS,
                run.run_id,
            )
            for run in runs
            if run is not None
        ]


@contextmanager
def daemon(root: Path) -> Iterator[Daemon]:
    with entered(root) as home, runner.instance() as found:
        yield Daemon(found, home)


def state(home: Home) -> dict[str, str]:
    """What stands in a home: the digest of every partition of every asset.

    Of features without the columns that are overwritten in place: what they said between two looks, nobody knows who
    did not look.
    """
    import pyarrow.parquet as pq

    refs, store = Refs(home.refs), ContentStore(home.store)
    contract = load_location(home, settings.settings().problem).contract
    mutable = {feature.name for feature in catalogue_for(contract, dict.fromkeys(contract.tables, AGES_AGO))} - {
        feature.name for feature in catalogue_for(contract)
    }
    found = {}
    for asset in refs.assets():
        if asset.startswith("snapshots/") or asset in OF_A_MOMENT:
            continue
        for key in refs.partitions(asset) or [None]:
            digest = str(refs.get(asset, key)["digest"])
            if asset == "customer_features":
                table = pq.read_table(store.path(digest))
                table = table.select(sorted(set(table.column_names) - mutable))
                digest = hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()
            found[f"{asset}@{key}"] = digest
    return found
