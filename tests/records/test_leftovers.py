"""Killed processes remove nothing; the next start does, and leaves alone what belongs to others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_platform.records import owner
from churn_platform.records.files import temporary_name
from churn_platform.records.home import Home
from churn_platform.records.leftovers import SCRATCH, sweep, sweep_home
from churn_platform.records.owner import is_left, kind_of, named, scratch

# A load that is killed at its worst moment: spilling, unpacking, copying a bucket, writing an object and a reference.
AT_WORK = """
import os, sys, time
from pathlib import Path
from churn_platform.records.files import replacing
from churn_platform.records.home import Home
from churn_platform.records.owner import scratch
from churn_platform.records.store import ContentStore
from churn_platform.sources.engine import engine
from churn_platform.sources.readers_packed import work_folder as unpacked
from churn_platform.sources.remote import work_folder as copied

home = Home.open(Path(sys.argv[1]))
half = replacing(home.refs / "a" / "b")
with engine(home.tmp) as inside, engine() as outside, copied(home.tmp), copied(), half as ref:
    inside.execute("CREATE TABLE t AS SELECT 1")
    (unpacked(outside) / "accounts.csv").write_text("ACME-00001")
    (scratch("bento", home.tmp) / "file").write_text("x")
    scratch(".simulated", home.sources)
    ref.write_text("half")
    with ContentStore(home.store).temporary() as path:
        path.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the system's for temporary files."""
    import tempfile

    folder = tmp_path / "system"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def at_work(home: Home, system: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", AT_WORK, str(home.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def _owned(*roots: Path) -> list[str]:
    return sorted(str(kind_of(path)) for root in roots for path in root.rglob("*") if kind_of(path))


def test_what_a_killed_process_has_left_goes_at_the_next_start(
    home: Home, system: Path, at_work: subprocess.Popen[str]
) -> None:
    everything = [".simulated", ".tmp", ".tmp", "bento", "door", "door", "source", "source", "unpacked"]
    assert _owned(home.root, system) == everything
    (system / "door-of-somebody").mkdir()
    (home.tmp / "numba").mkdir()
    assert sweep_home(home) == [], "it is still at work"
    assert _owned(home.root, system) == everything
    at_work.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, at_work.pid, os.WEXITED | os.WNOWAIT)
    # it has ended, and nobody has asked how: a zombie writes no more
    removed = sweep_home(home)
    assert len(removed) == len(everything) - 1, "what was unpacked lay inside of what was spilled"
    assert _owned(home.root, system) == []
    assert {path.name for path in system.iterdir()} == {"door-of-somebody"}
    assert (home.tmp / "numba").is_dir()


def test_the_door_sweeps_before_it_opens(home: Home, system: Path, at_work: subprocess.Popen[str]) -> None:
    from churn_platform.sources.engine import engine

    at_work.send_signal(signal.SIGKILL)
    at_work.wait()
    with engine():
        pass
    with engine(home.tmp):
        pass
    assert _owned(system) == []
    assert not set(_owned(home.tmp)) & SCRATCH


def _named(kind: str, pid: int, start: int | str, place: str | None = None) -> str:
    return f"{kind}-{pid}-{start}-{place or owner._place()}-{'0' * 16}"


def test_an_id_that_has_come_back_is_another_process(tmp_path: Path) -> None:
    start = owner._started(os.getpid())
    assert start is not None
    assert not is_left(tmp_path / _named("door", os.getpid(), start))
    assert is_left(tmp_path / _named("door", os.getpid(), start - 1))


def test_what_is_nobody_s_is_left_alone(tmp_path: Path) -> None:
    for name in ("door-1-2-3", "door-99999999-abc", ".tmp-1", "readme", "door-1-2-abcdef-0000000000000000.txt"):
        (tmp_path / name).touch()
    assert sweep(tmp_path) == []


def test_another_machine_s_files_are_left_alone_until_nobody_touches_them(tmp_path: Path) -> None:
    path = tmp_path / _named("door", 4_000_000, 1, "ffffff" if owner._place() != "ffffff" else "000000")
    path.mkdir()
    assert sweep(tmp_path) == []
    old = time.time() - owner.FOREIGN_SECONDS - 60
    os.utime(path, (old, old))
    assert sweep(tmp_path) == [path]


def test_names_are_ours_and_differ_in_a_forked_child(tmp_path: Path) -> None:
    assert kind_of(Path(named(".tmp"))) == ".tmp"
    assert temporary_name(tmp_path).name.startswith(f".tmp-{os.getpid()}-")
    assert scratch("door", tmp_path).stat().st_mode & 0o777 == 0o700
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:  # pragma: no cover
        os.write(writer, named("door").encode())
        os._exit(0)
    os.waitpid(child, 0)
    name = os.read(reader, 200).decode()
    os.close(reader)
    os.close(writer)
    assert name.split("-")[1] == str(child)
    assert is_left(tmp_path / name)
