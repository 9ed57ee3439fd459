"""Child processes of a command: started with a log, watched, started again when they end, stopped in order."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import httpx
import psutil

from churn_platform.cli.guard import Guard
from churn_platform.cli.logs import note, rotate
from churn_platform.cli.processes import PROGRAM, TOKEN, die_with_parent, end_all, marked, stop_tree, sweep
from churn_platform.errors import BusyError, ChurnError
from churn_platform.records.alive import token_of
from churn_platform.records.files import remove, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("churn_platform.supervisor")

STABLE_SECONDS = 60.0
"""A program that has run for so long has started well: the next end is its first again."""
LONGEST_PAUSE = 60.0
LOOK_SECONDS = 10.0
WARN_SECONDS = 300.0
FAMILY_SECONDS = 5.0
"""So long may the processes that an ended program has left take to end in order; then they are killed."""
SILENT_SECONDS = 180.0
"""A server that has not answered for so long, on a machine that may be busy learning, is started anew."""

Command = Callable[[], tuple[Sequence[str], Mapping[str, str]]]


class ProcessError(ChurnError):
    code, title = "process", "A process did not start or has ended"


@dataclass
class Child:
    """One program, running or about to be started again.

    Attributes:
        command: argv and environment, made anew at each start.
        mark: what this start's processes carry in their environment.
        url: of a server: what answers 200 while it is well.
        restarts: since the command began.
        failures: ends in a row, each within a minute of its start.
        due: when it is started again (monotonic); None while it runs.
    """

    name: str
    command: Command
    log: Path
    cwd: Path | None
    process: subprocess.Popen[bytes]
    mark: str
    pid_file: Path
    scratch: Path | None = None
    url: str | None = None
    restarts: int = 0
    failures: int = 0
    due: float | None = None
    said: str = ""
    began: float = field(default_factory=time.monotonic)
    answered: float = field(default_factory=time.monotonic)

    def tail(self, lines: int = 5) -> str:
        """The last lines of its log."""
        try:
            whole = self.log.read_text(errors="replace")
        except OSError as error:
            return f"its log cannot be read: {error.strerror}"
        text = re.sub(r"\x1b\[[0-9;]*m", "", whole).strip().splitlines()
        return " / ".join(text[-lines:])


def restart_pause(failures: int) -> float:
    """Seconds before a program is started again: 1, 2, 4 … 60.

    Args:
        failures: how often in a row it has ended soon after its start, from 1.
    """
    return min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 10))


def free_port() -> int:
    """A TCP port on the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def claim_port(port: int, option: str) -> int:
    """``port``, or a free one for 0.

    Raises:
        BusyError: where another program listens on it; names the option that chooses another.
    """
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BusyError(
                f"Port {port} is taken by another program.",
                mend=f"Stop that program, or choose another port with {option} (0 takes a free one).",
                field=option,
            ) from error
    return port


class Supervisor:
    """Starts, watches and stops the programs of one command. A context: leaving it stops all of them, and when this
    process is killed a guard does (:mod:`churn_platform.cli.guard`).

    While the context is open every process that is started from here on carries the supervisor's mark.
    """

    def __init__(self, logs: Path, run: Path, what: str = "command") -> None:
        self._logs, self._run, self._what = logs, run, what
        self._started = psutil.Process().create_time()
        self._token = token_of(os.getpid())
        self._state = run / f"supervisor-{os.getpid()}.json"
        self._before: str | None = None
        self._guard: Guard | None = None
        self._looked = 0.0
        self._starts = 0
        self._warned = -math.inf
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        self._guard = Guard(self._token)
        self._before = os.environ.get(TOKEN)
        os.environ[TOKEN] = self._token
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        os.environ.pop(TOKEN, None)
        if self._before is not None:
            os.environ[TOKEN] = self._before
        if self._guard is not None:
            self._guard.__exit__()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        scratch: Path | None = None,
        again: Command | None = None,
    ) -> Child:
        """Start a program in a session of its own; its output goes to ``<logs>/<name>.log``.

        Args:
            scratch: a folder of the program's own, removed after it has stopped.
            again: makes argv and environment where it must be started again; the same ones by default.
        """
        log = self._logs / f"{name}.log"
        mark = self._next_mark()
        process = self._spawn(argv, env, cwd, log, mark)
        pid_file = self._pid_file(name, process)
        child = Child(name, again or (lambda: (argv, env)), log, cwd, process, mark, pid_file, scratch)
        self._keep(child)
        self.children.append(child)
        self._tell()
        return child

    def wait_until_up(self, child: Child, url: str, *, timeout: float, mend: str = "") -> float:
        """Wait until ``url`` answers 200; returns the seconds. From then on it is asked again and again.

        Raises:
            ProcessError: when the program ends or does not answer in time; quotes the end of its log.
        """
        started = time.monotonic()
        while (spent := time.monotonic() - started) < timeout:
            if child.process.poll() is not None:
                raise ProcessError(
                    f"{child.name} ended with code {child.process.returncode} before it answered: {child.tail()}.",
                    mend=mend or f"The whole log is in {child.log}.",
                )
            if answers(url):
                child.url, child.answered = url, time.monotonic()
                self._tell()
                return spent
            time.sleep(0.1)
        raise ProcessError(
            f"{child.name} did not answer within {timeout:.0f} s: {child.tail()}.",
            mend=mend or f"The whole log is in {child.log}.",
        )

    def look(self) -> None:
        """Once: note who has ended, start again who is due, and now and then ask the servers and rotate the logs."""
        now = time.monotonic()
        for child in self.children:
            if child.due is not None:
                if child.due <= now:
                    self._restart(child)
            elif (code := child.process.poll()) is not None:
                self._ended(child, f"ended with code {code}: {child.tail(2)}"[:300])
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        for child in self.children:
            with self._bookkeeping():
                rotate(child.log)
            if child.url is None or child.due is not None:
                continue
            if answers(child.url):
                child.answered = time.monotonic()
            elif time.monotonic() - max(child.answered, child.began) > SILENT_SECONDS:
                stop_tree(child.process.pid, 10.0)
                child.process.wait()
                self._ended(child, f"did not answer for {SILENT_SECONDS:.0f} s and was stopped")
        self._tell()

    def stop(self, grace: float = 10.0) -> None:
        """Stop all: SIGTERM, then SIGKILL for whoever is left after ``grace`` seconds.

        The newest is stopped first (it is the one that asks for work: the daemon), then the others at once.
        """

        def end(child: Child) -> None:
            stop_tree(child.process.pid, grace)
            child.process.wait()
            with self._bookkeeping():
                child.pid_file.unlink(missing_ok=True)
                if child.scratch is not None:
                    remove(child.scratch)

        for at_once in (self.children[-1:], self.children[:-1]):
            if at_once:
                with ThreadPoolExecutor(len(at_once)) as pool:
                    list(pool.map(end, at_once))
        if self.children:
            # Whoever has left the family (a daemon of a daemon) is known by the mark.
            mine = {process.pid for process in psutil.Process().children(recursive=True)}
            end_all([process for process, _ in marked(TOKEN, self._token) if process.pid not in mine])
        self.children.clear()
        with self._bookkeeping():
            self._state.unlink(missing_ok=True)

    @contextmanager
    def _bookkeeping(self) -> Iterator[None]:
        """Something that is written down about the programs. Where it cannot be (a full disk), they go on running, and
        it is said on stderr now and then."""
        try:
            yield
        except OSError as error:
            if time.monotonic() - self._warned > WARN_SECONDS:
                LOG.warning("what runs cannot be written down: %s; the programs go on", error)
                self._warned = time.monotonic()

    def _note(self, text: str) -> None:
        with self._bookkeeping():
            note(self._logs, text)

    def _next_mark(self) -> str:
        self._starts += 1
        return f"{self._token}-{self._starts}"

    def _spawn(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, log: Path, mark: str
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as stream:
            return subprocess.Popen(
                list(argv),
                env={**env, TOKEN: self._token, PROGRAM: mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def _pid_file(self, name: str, process: subprocess.Popen[bytes]) -> Path:
        # Two servers of one kind may run in one home: the process id keeps their files apart.
        return self._run / f"{name}-{process.pid}.pid"

    def _keep(self, child: Child) -> None:
        pid = child.process.pid
        try:
            started = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:  # ended already; whoever waits for it says so
            return
        kept = {"pid": pid, "started": started, "scratch": str(child.scratch)}
        with self._bookkeeping():
            write_atomic(child.pid_file, json.dumps(kept).encode(), durable=False)

    def _end_family(self, child: Child) -> list[psutil.Process]:
        """End what a program that has ended has left at work; returns who would not go.

        A daemon's runs are executed by processes that do not end with it. The next daemon takes them for gone, and has
        them tried again: they must be.
        """
        return end_all([process for process, _ in marked(PROGRAM, child.mark)], patience=FAMILY_SECONDS)

    def _ended(self, child: Child, said: str) -> None:
        self._end_family(child)
        with self._bookkeeping():
            child.pid_file.unlink(missing_ok=True)
        soon = time.monotonic() - child.began < STABLE_SECONDS
        child.failures = child.failures + 1 if soon else 1
        pause = restart_pause(child.failures)
        child.due, child.said = time.monotonic() + pause, said
        self._note(f"{child.name} {said}; it is started again in {pause:.0f} s")
        self._tell()

    def _restart(self, child: Child) -> None:
        if left := self._end_family(child):
            numbers = ", ".join(str(process.pid) for process in left)
            self._ended(child, f"cannot be started again while what it has started does not end: process {numbers}")
            return
        try:
            argv, env = child.command()
            child.mark = self._next_mark()
            child.process = self._spawn(argv, env, child.cwd, child.log, child.mark)
        except (ChurnError, OSError) as error:
            self._ended(child, f"cannot be started: {error}")
            return
        child.due, child.began, child.restarts = None, time.monotonic(), child.restarts + 1
        child.pid_file = self._pid_file(child.name, child.process)
        self._keep(child)
        self._note(f"{child.name} was started again, for the {child.restarts}. time")
        self._tell()

    def _tell(self) -> None:
        """Write down what runs, for ``churn status``."""
        told: dict[str, Any] = {
            "schema": "supervisor/1",
            "pid": os.getpid(),
            "started": self._started,
            "what": self._what,
            "children": [
                {
                    "name": child.name,
                    "pid": child.process.pid if child.due is None else None,
                    "url": child.url,
                    "log": str(child.log),
                    "restarts": child.restarts,
                    "said": child.said,
                    "up_since": time.time() - (time.monotonic() - child.began) if child.due is None else None,
                }
                for child in self.children
            ],
        }
        with self._bookkeeping():
            write_atomic(self._state, json.dumps(told).encode(), durable=False)


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether a server answers 200."""
    try:
        return httpx.get(url, timeout=timeout, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are put into the list instead of ending this process."""
    received: list[int] = []

    def keep(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_stop(supervisor: Supervisor) -> None:
    """Watch the programs, and start again those that end, until Ctrl-C or SIGTERM."""
    with stop_signals() as received:
        while not received:
            supervisor.look()
            time.sleep(0.2)


__all__ = [
    "Child",
    "ProcessError",
    "Supervisor",
    "answers",
    "claim_port",
    "free_port",
    "restart_pause",
    "stop_signals",
    "stop_tree",
    "sweep",
    "wait_for_stop",
]
