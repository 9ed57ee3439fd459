import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform.errors import RecordError
from churn_platform.records import events
from churn_platform.records.events import EventWriter, append_now, read_events

SCHEMA = ("thing", 1)


def read(folder: Path, **options: Any) -> list[dict[str, Any]]:
    return list(read_events(folder, "thing", (1,), **options))


def numbers(folder: Path) -> list[int]:
    return [event["n"] for event in read(folder)]


def test_events_come_back_in_order(tmp_path: Path):
    writer = EventWriter(tmp_path / "things", SCHEMA)
    for n in range(1000):
        writer.append({"n": n})
    assert writer.flush()
    assert numbers(tmp_path / "things") == list(range(1000))
    assert read(tmp_path / "things")[0] == {"schema": "thing/1", "n": 0}
    writer.close()
    assert numbers(tmp_path / "things") == list(range(1000))


def test_a_stream_that_is_not_there_is_empty(tmp_path: Path):
    assert read(tmp_path / "absent") == []


def test_closing_writes_what_waits(tmp_path: Path):
    writer = EventWriter(tmp_path, SCHEMA, linger=5)
    writer.append({"n": 1})
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 4
    assert numbers(tmp_path) == [1]


def test_long_segments_are_closed(tmp_path: Path):
    writer = EventWriter(tmp_path, SCHEMA, segment_bytes=1000, linger=0)
    for n in range(100):
        writer.append({"n": n, "text": "x" * 100})
        writer.flush()
    writer.close()
    assert len(list(tmp_path.glob("*.jsonl"))) > 5
    assert numbers(tmp_path) == list(range(100))
    assert all(path.stat().st_size < 1300 for path in tmp_path.glob("*.jsonl"))


def test_only_lines_that_hold_what_is_looked_for(tmp_path: Path):
    writer = EventWriter(tmp_path, SCHEMA)
    for name in ("anna", "berta"):
        writer.append({"name": name})
    writer.close()
    assert read(tmp_path, containing=b"berta") == [{"schema": "thing/1", "name": "berta"}]
    assert read(tmp_path, containing=b"berta", since=time.time() + 60) == []


PROGRAM = """
import sys
from pathlib import Path
from churn_platform.records.events import EventWriter
writer = EventWriter(Path(sys.argv[1]), ("thing", 1), segment_bytes=20_000)
n = 0
while True:
    for _ in range(7):
        writer.append({"n": n, "text": "y" * (n % 300)})
        n += 1
    assert writer.flush()
    print(n, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 40, 120])
def test_a_kill_loses_nothing_that_was_flushed(tmp_path: Path, lines: int):
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    promised = 0
    for _ in range(lines):
        promised = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    promised = max([promised, *(int(line) for line in child.stdout.read().split()[:-1])])
    child.stdout.close()
    found = numbers(tmp_path)
    assert found[:promised] == list(range(promised))
    assert found == list(range(len(found)))
    # The next process goes on behind it.
    writer = EventWriter(tmp_path, SCHEMA)
    writer.append({"n": -1})
    writer.close()
    assert numbers(tmp_path) == [*range(len(found)), -1]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), noise=st.binary(max_size=20))
def test_any_torn_tail_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes):
    folder = tmp_path_factory.mktemp("stream")
    writer = EventWriter(folder, SCHEMA)
    for n in range(5):
        writer.append({"n": n})
    writer.close()
    (path,) = folder.glob("*.jsonl")
    whole = path.read_bytes()
    kept = whole[: max(len(whole) - cut, 0)]
    path.write_bytes(kept + noise.replace(b"\n", b" "))
    assert numbers(folder) == list(range(max(kept.count(b"\n") - 1, 0)))


def test_damage_in_the_middle_is_said(tmp_path: Path):
    writer = EventWriter(tmp_path, SCHEMA)
    for n in range(5):
        writer.append({"n": n})
    writer.close()
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'{"n":2', b'{"n"2'))
    with pytest.raises(RecordError, match="damaged at line 4"):
        read(tmp_path)


def test_another_schema_is_refused(tmp_path: Path):
    append_now(tmp_path, ("thing", 2), [{"n": 1}])
    with pytest.raises(RecordError, match="thing/2"):
        read(tmp_path)


def test_a_full_disk_delays_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    full = threading.Event()
    full.set()
    write = os.write

    def refuse(file: int, data: bytes) -> int:
        if full.is_set() and threading.current_thread().name.startswith("events-"):
            write(file, bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(events.os, "write", refuse)
    monkeypatch.setattr(events, "_RETRY_SECONDS", 0.02)
    writer = EventWriter(tmp_path, SCHEMA, most_waiting=50)
    writer.append({"n": 0})
    assert not writer.flush(0.2)
    for n in range(1, 100):
        writer.append({"n": n})
    lost = writer.lost
    assert 40 <= lost < 99
    full.clear()
    assert writer.flush()
    assert numbers(tmp_path) == list(range(100 - lost))
    assert "No space left" in caplog.text
    writer.close()


def test_an_event_without_json_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    writer = EventWriter(tmp_path, SCHEMA)
    for value in (1, float("nan"), 2):
        writer.append({"n": value})
    writer.close()
    assert numbers(tmp_path) == [1, 2]
    assert writer.lost == 1
    assert "cannot be kept" in caplog.text


def test_appending_takes_microseconds(tmp_path: Path):
    writer = EventWriter(tmp_path, SCHEMA)
    event = {"n": 1, "text": "x" * 300}
    spent = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(500):
            writer.append(event)
        spent.append((time.perf_counter() - began) / 500)
    writer.close()
    assert sorted(spent)[len(spent) // 2] < 50e-6
    assert len(numbers(tmp_path)) == 10_000


def _append(folder: Path, process: int) -> None:
    for n in range(20):
        append_now(folder, SCHEMA, [{"process": process, "n": n, "part": part} for part in range(3)])


def test_several_processes_share_a_segment(tmp_path: Path):
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(_append, [tmp_path] * 3, range(3)))
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    found = read(tmp_path)
    for process in range(3):
        own = [(event["n"], event["part"]) for event in found if event["process"] == process]
        assert own == [(n, part) for n in range(20) for part in range(3)]


@pytest.mark.parametrize("torn", [b'{"n": 2, "sch', b"\0" * 70_000, b"x" * 200_000])
def test_a_torn_line_of_a_shared_segment_is_written_over(tmp_path: Path, torn: bytes):
    append_now(tmp_path, SCHEMA, [{"n": 1}])
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(torn)
    assert numbers(tmp_path) == [1]
    append_now(tmp_path, SCHEMA, [{"n": 3}])
    assert numbers(tmp_path) == [1, 3]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_nothing_is_kept_of_a_call_that_fails(tmp_path: Path):
    with pytest.raises(RecordError):
        append_now(tmp_path, SCHEMA, [{"n": 1}, {"n": object()}])
    assert read(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events.os, "access", lambda *_: False)
    with pytest.raises(RecordError, match="cannot be written"):
        EventWriter(tmp_path / "things", SCHEMA)
