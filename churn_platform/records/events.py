"""Append-only logs of events: JSON lines in segments, never changed, read while they are written.

A **stream** (``predictions``, ``lineage``) is a folder of segments ``<UUIDv7>.jsonl``. A segment has one writer; its
first line says what it holds, in which version; every further line is one event. Two ways in:

- :class:`EventWriter` for the hot path: ``append`` only queues; a thread writes what has gathered and syncs it. What
  was appended in the last few hundredths of a second may be lost by a kill, and nothing that
  :meth:`EventWriter.flush` has returned for.
- :func:`append_now` for what is rare and must be kept before the caller goes on.

A process that is killed leaves at most a torn last line. Readers leave it out, and nobody writes behind it: the next
writer begins a segment of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from churn_platform import clock
from churn_platform.errors import RecordError
from churn_platform.records.files import sync_folder
from churn_platform.records.ids import uuid7
from churn_platform.records.jsontext import canonical
from churn_platform.records.schema import check_schema, schema_tag

log = logging.getLogger("churn_platform.records.events")

SEGMENT: Final = "event_segment"
LINGER_SECONDS: Final = 0.02
SEGMENT_BYTES: Final = 64 * 2**20
# So many events wait while the disk does not take them (about 100 MB); those beyond are counted as lost.
MOST_WAITING: Final = 100_000
_RETRY_SECONDS: Final = 1.0
_SHARED: Final = "shared-"


class EventWriter:
    """Appends the events of one process to a stream. Safe to use from several threads.

    Args:
        folder: of the stream; made where missing.
        schema: name and version of its events: ``("prediction_event", 1)``.
        encode: turns what was appended into the event's JSON object; called in the writer's thread.
        linger: seconds that events may gather before they are written.
        segment_bytes: a segment is closed when it is so long.
    """

    def __init__(
        self,
        folder: Path,
        schema: tuple[str, int],
        *,
        encode: Callable[[Any], Mapping[str, Any]] = lambda event: event,
        linger: float = LINGER_SECONDS,
        segment_bytes: int = SEGMENT_BYTES,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise RecordError(
                f"Events cannot be written to {folder}.", mend="Give this user access to it: it is read-only."
            )
        self.lost = 0
        self._folder, self._schema, self._encode = folder, schema_tag(*schema), encode
        self._linger, self._longest, self._most = linger, segment_bytes, most_waiting
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._closing = threading.Event()
        self._file: int | None = None
        self._size = 0
        self._thread = threading.Thread(target=self._run, name=f"events-{folder.name}", daemon=True)
        self._thread.start()

    def append(self, event: Any) -> None:
        """Queue one event. Waits for nothing; where the disk has not taken events for long, it is counted as lost."""
        if self._queue.qsize() >= self._most:
            self.lost += 1
            return
        self._queue.put(event)

    def flush(self, timeout: float = 10.0) -> bool:
        """Return when everything that was appended before is on disk; False where that took too long."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Write what waits, and stop."""
        self._closing.set()
        self._queue.put(threading.Event())
        self._thread.join(timeout)

    def _run(self) -> None:
        said = 0
        while not (self._closing.is_set() and self._queue.empty()):
            batch = [self._queue.get()]
            if self._linger and not isinstance(batch[0], threading.Event):
                self._closing.wait(self._linger)
            with contextlib.suppress(Empty):
                while len(batch) < 10_000:
                    batch.append(self._queue.get_nowait())
            self._write([event for event in batch if not isinstance(event, threading.Event)])
            for event in batch:
                if isinstance(event, threading.Event):
                    event.set()
            if self.lost > said:
                log.error("%d events of %s are lost: the disk did not take them", self.lost - said, self._folder.name)
                said = self.lost
        self._close_segment()

    def _write(self, events: Sequence[Any]) -> None:
        lines = b"".join(self._lines(events))
        said = False
        while lines:
            try:
                self._write_lines(lines)
                return
            except OSError as error:
                if not said:
                    log.error("events cannot be written to %s: %s; tried again", self._folder, error.strerror)
                    said = True
                self._close_segment()
                if self._closing.wait(_RETRY_SECONDS):
                    self.lost += len(events)
                    return

    def _lines(self, events: Sequence[Any]) -> Iterator[bytes]:
        for event in events:
            try:
                yield canonical({"schema": self._schema, **self._encode(event)}) + b"\n"
            except Exception as error:  # one event that has no JSON must not stop those behind it
                self.lost += 1
                log.error("an event of %s cannot be kept: %s", self._folder.name, type(error).__name__)

    def _write_lines(self, lines: bytes) -> None:
        if self._file is None:
            path = self._folder / f"{uuid7()}.jsonl"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._size = 0
            lines = _header(self._folder.name, self._schema) + lines
        before = self._size
        try:
            _write_all(self._file, lines)
            os.fdatasync(self._file)
        except OSError:
            # What was half written is taken back, so that the same events can be written again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise
        self._size = before + len(lines)
        if not before:
            sync_folder(self._folder)
        if self._size >= self._longest:
            self._close_segment()

    def _close_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


def append_now(folder: Path, schema: tuple[str, int], events: Sequence[Mapping[str, Any]]) -> None:
    """Append events to the month's shared segment and return when they are on disk. One writer at a time.

    Raises:
        RecordError: an event has no canonical JSON; nothing of the call is kept.
        OSError: the disk does not take them.
    """
    tag = schema_tag(*schema)
    lines = b"".join(canonical({"schema": tag, **event}) + b"\n" for event in events)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{_SHARED}{clock.wall():%Y-%m}.jsonl"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _whole_lines(file)
        os.ftruncate(file, end)  # a torn line of a writer that was killed: nobody was told that it is kept
        os.lseek(file, end, os.SEEK_SET)
        _write_all(file, lines if end else _header(folder.name, tag) + lines)
        os.fsync(file)
        if not end:
            sync_folder(folder)
    finally:
        os.close(file)


def read_events(
    folder: Path, name: str, versions: Sequence[int], *, since: float = 0.0, containing: bytes = b""
) -> Iterator[dict[str, Any]]:
    """The events of a stream, segment by segment; within a segment in the order of writing.

    Args:
        folder: of the stream; nothing where there is none.
        name, versions: the schema of its events, and what the caller can read.
        since: segments that were last written before this (seconds since 1970) are left out.
        containing: only lines with these bytes in them.

    Raises:
        RecordError: a segment is damaged other than at its end, or of another schema.
    """
    for path in sorted(folder.glob("*.jsonl")):
        if path.stat().st_mtime < since:
            continue
        data = path.read_bytes()
        if containing and containing not in data:
            continue
        yield from _events(path, data, name, versions, containing)


def _events(path: Path, data: bytes, name: str, versions: Sequence[int], containing: bytes) -> Iterator[dict[str, Any]]:
    # Without a line's end a line is torn: it is not there.
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    last = len(lines) - 1
    for number, line in enumerate(lines):
        if number and containing not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            if number == last:  # a power cut may leave a line of another length than it had
                return
            raise RecordError(
                f"The event log {path} is damaged at line {number + 1}.", mend="Restore it from a backup."
            ) from error
        if not number:
            check_schema(event, SEGMENT, (1,))
            continue
        check_schema(event, name, versions)
        yield event


def _header(stream: str, schema: str) -> bytes:
    value = {"schema": schema_tag(SEGMENT, 1), "stream": stream, "events": schema, "pid": os.getpid()}
    return canonical({**value, "began_at": clock.wall().isoformat()}) + b"\n"


def _whole_lines(file: int) -> int:
    """The length of a file up to the end of its last whole line."""
    end = os.fstat(file).st_size
    while end:
        start = max(0, end - 65_536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
