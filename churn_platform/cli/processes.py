"""Processes of a home: who started them, how they are ended, and how none is left over."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from churn_platform.records.alive import is_alive, token_is_alive
from churn_platform.records.files import remove

TOKEN = "CHURN_SUPERVISOR"  # noqa: S105 - no secret: the name of a mark
"""Every process that a supervisor has started, directly or not, carries the supervisor's mark (``records.alive``) in
its environment: so it is found also after its parents have gone."""
PROGRAM = "CHURN_PROGRAM"
"""Beside it, the mark of one start of one program: what it has started is known by it after it has ended."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Run between fork and exec: a session of its own, and SIGTERM from the kernel when the parent ends (Linux)."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def marked(name: str, value: str | None = None) -> list[tuple[psutil.Process, str]]:
    """Processes of this user with an environment variable (of that value), other than this one; with its value."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            held = process.environ().get(name)
        except (psutil.Error, OSError):
            continue
        if held is not None and value in (None, held):
            found.append((process, held))
    return found


def end_all(processes: Iterable[psutil.Process], *, patience: float = 3.0) -> list[psutil.Process]:
    """Tell them to end, and kill whoever is left after ``patience`` seconds; returns those who would not go."""
    left = list(processes)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with suppress(psutil.Error):
                end(process)
        _, left = psutil.wait_procs(left, timeout=patience)
        if not left:
            break
    return left


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
    end_all([process for process in family if process.is_running()])


def leftovers(home: Path) -> list[tuple[psutil.Process, str]]:
    """Processes of a home whose supervisor is gone, with its mark."""
    found = []
    for process, token in marked(TOKEN):
        with suppress(psutil.Error, OSError):
            if process.environ().get("CHURN_HOME") == str(home) and not token_is_alive(token):
                found.append((process, token))
    return found


def sweep(home: Path, run: Path) -> None:
    """Clear away what a command that was killed has left: processes, and in ``run`` pid files, states and folders."""
    end_all([process for process, _ in leftovers(home)])
    alive: set[str] = set()
    for file in [*run.glob("*.pid"), *run.glob("supervisor-*.json")]:
        with suppress(ValueError, KeyError, OSError):
            kept = json.loads(file.read_bytes())
            if is_alive(int(kept["pid"]), float(kept["started"])):
                alive.add(str(kept.get("scratch")))
                continue
        file.unlink(missing_ok=True)
    for folder in run.glob("bentoml-*"):
        if str(folder) not in alive:
            remove(folder)
