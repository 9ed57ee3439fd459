"""Programs that end are started again with growing pauses; logs are kept in bounds; a killed command leaves nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.cli import supervise as module
from churn_platform.cli.logs import follow, rotate, tail
from churn_platform.cli.processes import TOKEN, leftovers, marked, sweep
from churn_platform.cli.status import programs
from churn_platform.cli.supervise import LONGEST_PAUSE, Supervisor, restart_pause
from churn_platform.records.alive import is_alive, token_is_alive, token_of
from tests.conftest import churn

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def supervisor(folder: Path) -> Iterator[Supervisor]:
    with Supervisor(folder / "logs", folder / "run", "churn test") as found:
        yield found


def _look_until(supervisor: Supervisor, done: object, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < until
        supervisor.look()
        time.sleep(0.02)


@given(st.integers(1, 10_000))
def test_pauses_grow_to_a_minute(failures: int) -> None:
    assert 1.0 <= restart_pause(failures) <= restart_pause(failures + 1) <= LONGEST_PAUSE


def test_one_that_ends_is_started_again(supervisor: Supervisor, folder: Path) -> None:
    child = supervisor.start("sleeper", SLEEPER, os.environ)
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    child.process.wait()
    supervisor.look()
    (told,) = programs(folder / "run")
    assert (told.state, told.pid) == ("down", None)
    assert "ended with code -9" in told.said
    assert not (folder / "run" / f"sleeper-{first}.pid").exists()
    _look_until(supervisor, lambda: child.restarts == 1)
    assert child.process.pid != first
    assert psutil.Process(child.process.pid).is_running()
    assert child.pid_file.exists()
    (told,) = programs(folder / "run")
    assert (told.by, told.pid, told.restarts) == ("churn test", child.process.pid, 1)
    assert "sleeper was started again" in (folder / "logs" / "supervisor.log").read_text()


def test_what_a_killed_program_has_left_at_work_ends_before_it_is_started_again(
    supervisor: Supervisor, folder: Path
) -> None:
    """Like a daemon whose runs are executed by a process of its own, in a session of its own, that does not listen."""
    script = folder / "program.py"
    script.write_text(
        "import os, signal, subprocess, sys, time, psutil\n"
        "from pathlib import Path\n"
        "if len(sys.argv) > 1:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    Path('worker').write_text(str(os.getpid()))\n"
        "    time.sleep(120)\n"
        "before = int(Path('worker').read_text()) if Path('worker').exists() else 0\n"
        "if before: Path('seen').write_text(f'{before} {psutil.pid_exists(before)}')\n"
        "else: subprocess.Popen([sys.executable, __file__, 'work'], start_new_session=True)\n"
        "time.sleep(120)\n"
    )
    other = supervisor.start("other", SLEEPER, os.environ)
    child = supervisor.start("daemon", [sys.executable, str(script)], os.environ, cwd=folder)
    _look_until(supervisor, lambda: (folder / "worker").is_file() and (folder / "worker").read_text())
    worker = int((folder / "worker").read_text())
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    assert psutil.pid_exists(worker), "it does not end by itself"
    _look_until(supervisor, lambda: (folder / "seen").is_file() and (folder / "seen").read_text())
    assert (folder / "seen").read_text() == f"{worker} False"
    assert child.restarts == 1
    assert other.process.poll() is None, "another program's processes are left alone"


def test_one_whose_work_cannot_be_ended_is_not_started_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "restart_pause", lambda failures: 0.0)
    child = supervisor.start("daemon", SLEEPER, os.environ)
    stuck = [psutil.Process()]
    monkeypatch.setattr(supervisor, "_end_family", lambda _: stuck)
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    for _ in range(3):
        supervisor.look()
    assert child.restarts == 0
    assert f"does not end: process {os.getpid()}" in child.said
    stuck.clear()
    _look_until(supervisor, lambda: child.restarts == 1)


def test_a_full_disk_ends_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Notes go to a device that is always full, and everything else that is written down fails as it would."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    with Supervisor(folder / "logs", folder / "run", "churn test") as supervisor:
        sleeper = supervisor.start("sleeper", SLEEPER, os.environ)
        ending = supervisor.start("ending", SLEEPER, os.environ)
        (folder / "logs" / "supervisor.log").symlink_to("/dev/full")
        for name in ("write_atomic", "rotate"):
            monkeypatch.setattr(module, name, full)
        os.kill(ending.process.pid, signal.SIGKILL)
        ending.log.unlink()
        _look_until(supervisor, lambda: ending.restarts == 1)
        assert sleeper.process.poll() is None
        assert ending.process.poll() is None
        assert "its log cannot be read" in ending.said
    told = [record.getMessage() for record in caplog.records if record.name == "churn_platform.supervisor"]
    assert len(told) == 1, "it is said, and not at every look"
    assert "No space left on device; the programs go on" in told[0]


def test_a_log_that_cannot_be_copied_keeps_its_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    log, earlier = tmp_path / "service.log", tmp_path / "service.log.1"
    log.write_text("a long line")
    earlier.write_text("earlier")
    monkeypatch.setattr("churn_platform.cli.logs.shutil.copyfile", half)
    for _ in range(4):
        with pytest.raises(OSError, match="No space left"):
            rotate(log, largest=5)
    assert (log.read_text(), earlier.read_text()) == ("a long line", "earlier")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["service.log", "service.log.1"]


def test_one_that_ends_at_once_is_given_longer_pauses(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "restart_pause", lambda failures: 0.05 * failures)
    child = supervisor.start("broken", [sys.executable, "-c", "raise SystemExit(3)"], os.environ)
    _look_until(supervisor, lambda: child.restarts >= 2 and child.due is not None)
    assert child.failures >= 3
    # One that had run well for a while begins anew.
    child.process.wait()
    child.due, child.began = None, time.monotonic() - 2 * module.STABLE_SECONDS
    supervisor.look()
    assert child.failures == 1


def test_what_is_started_again_is_the_newest_command(supervisor: Supervisor, folder: Path) -> None:
    made = []

    def command() -> tuple[list[str], dict[str, str]]:
        made.append(1)
        return [sys.executable, "-c", "print('second', flush=True); import time; time.sleep(60)"], dict(os.environ)

    child = supervisor.start("service", [sys.executable, "-c", "raise SystemExit(0)"], os.environ, again=command)
    _look_until(supervisor, lambda: "second" in child.log.read_text())
    assert made == [1]


def test_a_server_that_hangs_is_started_again(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "answers", lambda url: False)
    child = supervisor.start("hanging", SLEEPER, os.environ)
    first = child.process.pid
    child.url = "http://127.0.0.1:1/"
    _look_until(supervisor, lambda: child.restarts >= 1)
    assert not psutil.pid_exists(first)


def test_a_killed_command_takes_grandchildren_along_that_do_not_listen(folder: Path) -> None:
    """The child ignores SIGTERM, and has a child in a session of its own that ignores it too."""
    deaf = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if len(sys.argv) == 1: subprocess.Popen([sys.executable, __file__, 'x'], start_new_session=True)\n"
        "open(__file__ + str(os.getpid()), 'w').close(); time.sleep(120)\n"
    )
    script = folder / "deaf.py"
    script.write_text(deaf)
    code = (
        "import os, sys, time; from pathlib import Path; from churn_platform.cli.supervise import Supervisor\n"
        f"with Supervisor(Path({str(folder / 'logs')!r}), Path({str(folder / 'run')!r})) as s:\n"
        f"    s.start('deaf', [sys.executable, {str(script)!r}], os.environ); print('on', flush=True); time.sleep(120)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        token = token_of(parent.pid)
        until = time.monotonic() + 30
        while len(list(folder.glob("deaf.py?*"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert len(marked(TOKEN, token)) == 2
        parent.kill()
        parent.wait()
    until = time.monotonic() + 10
    while marked(TOKEN, token):
        assert time.monotonic() < until, "something outlived the command by ten seconds"
        time.sleep(0.1)


def test_what_a_killed_command_has_left_is_swept(folder: Path) -> None:
    home, run = folder, folder / "run"
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    token = token_of(gone.pid)
    gone.wait()
    env = {**os.environ, TOKEN: token, "CHURN_HOME": str(home)}
    with subprocess.Popen(SLEEPER, env=env) as left:
        (run / "service-1.pid").write_text('{"pid": 1, "started": 5, "scratch": "None"}')
        (run / "broken-2.pid").write_text("{")
        (run / "supervisor-3.json").write_text('{"pid": 1, "started": 5}')
        (run / "bentoml-4").mkdir()
        until = time.monotonic() + 20
        while not leftovers(home):  # until it has become the program
            assert time.monotonic() < until
        assert [process.pid for process, _ in leftovers(home)] == [left.pid]
        sweep(home, run)
        left.wait(timeout=10)
    assert list(run.iterdir()) == []


def test_what_is_alive_is_not_swept(supervisor: Supervisor, folder: Path) -> None:
    scratch = folder / "run" / "bentoml-9"
    scratch.mkdir()
    child = supervisor.start("sleeper", SLEEPER, {**os.environ, "CHURN_HOME": str(folder)}, scratch=scratch)
    sweep(folder, folder / "run")
    assert child.process.poll() is None
    assert child.pid_file.exists()
    assert scratch.is_dir()
    assert programs(folder / "run")


def test_a_process_is_known_by_its_start_too() -> None:
    token = token_of(os.getpid())
    assert token_is_alive(token)
    assert not token_is_alive(f"{os.getpid()}-5000")
    assert not token_is_alive("x")
    assert is_alive(os.getpid(), psutil.Process().create_time())
    assert not is_alive(2**22 + 1, 0)


def test_logs_are_rotated_while_they_are_written(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with log.open("ab", buffering=0) as stream:
        for number in range(6):
            stream.write(f"{number}".encode() * 100 + b"\n")
            rotate(log, largest=50, kept=3)
        stream.write(b"last\n")
    assert log.read_bytes() == b"last\n", "the program goes on at the beginning of the emptied file"
    kept = [log.with_name(f"service.log.{n}").read_bytes()[:1] for n in (1, 2, 3)]
    assert kept == [b"5", b"4", b"3"]
    assert not log.with_name("service.log.4").exists()
    assert not rotate(tmp_path / "none.log")


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=50)), st.integers(0, 30))
def test_the_tail_is_the_last_lines(lines: list[str], count: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "x.log"
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        assert tail(log, count) == (lines[-count:] if count else [])


def test_followed_lines_come_whole_and_survive_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    lines = follow([log])
    with log.open("ab", buffering=0) as stream:
        import threading

        def write() -> None:
            time.sleep(0.3)
            stream.write(b"ha")
            time.sleep(0.3)
            stream.write(b"lf\n")
            time.sleep(0.5)
            rotate(log, largest=1)
            stream.write(b"new\n")

        writer = threading.Thread(target=write)
        writer.start()
        assert [next(lines)[1], next(lines)[1]] == ["half", "new"]
        writer.join()


def test_the_commands_say_that_nothing_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = churn("status", home=home)
    assert done.returncode == 1
    assert "`churn up`" in done.stderr
    done = churn("logs", home=home)
    assert done.returncode == 1
    assert "no logs yet" in done.stderr
    done = churn("up", "--service-port", "0", "--dagster-port", "0", home=home)
    assert done.returncode == 1
    assert "no champion to serve yet" in done.stderr
    (home / "logs" / "service.log").write_text("one\ntwo\nthree\n")
    assert churn("logs", "service", "--lines", "2", home=home).stdout == "two\nthree\n"
    assert churn("logs", "--lines", "1", home=home).stdout == "service | three\n"
    done = churn("logs", "servce", home=home)
    assert done.returncode == 1
    assert "Give one of service" in done.stderr
