"""Child processes of a command: started with a log, watched until they answer, stopped in order, never orphaned."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import psutil

from churn_platform.errors import BusyError, ChurnError
from churn_platform.records.files import remove, write_atomic

_PR_SET_PDEATHSIG = 1


class ProcessError(ChurnError):
    code, title = "process", "A process did not start or has ended"


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends (Linux), so that no child outlives its parent."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One running program."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    pid_file: Path
    scratch: Path | None = None

    def tail(self, lines: int = 5) -> str:
        """The last lines of its log."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace")).strip().splitlines()
        return " / ".join(text[-lines:])


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
    """Starts and stops the programs of one command. Use as a context manager: leaving it stops all of them."""

    def __init__(self, logs: Path, run: Path) -> None:
        self._logs, self._run = logs, run
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        scratch: Path | None = None,
    ) -> Child:
        """Start a program in a session of its own; its output goes to ``<logs>/<name>.log``.

        Args:
            scratch: a folder of the program's own, removed after it has stopped.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as stream:
            process = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
        # Two servers of one kind may run in one home: the process id keeps their files apart.
        pid_file = self._run / f"{name}-{process.pid}.pid"
        started = psutil.Process(process.pid).create_time()
        write_atomic(pid_file, json.dumps({"pid": process.pid, "started": started, "scratch": str(scratch)}).encode())
        child = Child(name, process, log, pid_file, scratch)
        self.children.append(child)
        return child

    def wait_until_up(self, child: Child, url: str, *, timeout: float, mend: str = "") -> float:
        """Wait until ``url`` answers 200; returns the seconds.

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
            try:
                if httpx.get(url, timeout=2).status_code == 200:
                    return spent
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise ProcessError(
            f"{child.name} did not answer within {timeout:.0f} s: {child.tail()}.",
            mend=mend or f"The whole log is in {child.log}.",
        )

    def stop(self, grace: float = 10.0) -> None:
        """Stop all, the newest first: SIGTERM, then SIGKILL for whoever is left after ``grace`` seconds."""
        for child in reversed(self.children):
            stop_tree(child.process.pid, grace)
            child.process.wait()
            child.pid_file.unlink(missing_ok=True)
            if child.scratch is not None:
                remove(child.scratch)
        self.children.clear()


def sweep(run: Path) -> None:
    """Remove what servers that were killed have left in ``run``: pid files and folders of processes that are gone."""
    alive: set[str] = set()
    for file in run.glob("*.pid"):
        try:
            kept = json.loads(file.read_bytes())
            if abs(psutil.Process(kept["pid"]).create_time() - kept["started"]) < 1:
                alive.add(str(kept.get("scratch")))
                continue
        except (ValueError, KeyError, psutil.Error):
            pass
        file.unlink(missing_ok=True)
    for folder in run.glob("bentoml-*"):
        if str(folder) not in alive:
            remove(folder)


def stop_tree(pid: int, grace: float) -> None:
    """Stop a process and all its descendants."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        root.terminate()
    except psutil.NoSuchProcess:
        return
    # The program stops its own children in order; whoever is left after it has gone is told, and then ended.
    psutil.wait_procs([root], timeout=grace)
    for end, patience in ((psutil.Process.terminate, 3.0), (psutil.Process.kill, grace)):
        left = [process for process in family if process.is_running()]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                end(process)
        psutil.wait_procs(left, timeout=patience)


def wait_for_stop(supervisor: Supervisor) -> None:
    """Return on Ctrl-C or SIGTERM.

    Raises:
        ProcessError: when one of the programs ends by itself.
    """
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stop.append(received))
    while not stop:
        for child in supervisor.children:
            if child.process.poll() is not None:
                raise ProcessError(
                    f"{child.name} ended with code {child.process.returncode}: {child.tail()}.",
                    mend=f"The whole log is in {child.log}.",
                )
        time.sleep(0.2)
