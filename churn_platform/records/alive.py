"""Whether a process that is known by its id and its start is still the one that runs: process ids come back."""

from __future__ import annotations

import psutil


def token_of(pid: int) -> str:
    """A mark of a running process: ``<pid>-<start in ms since 1970>``."""
    return f"{pid}-{int(psutil.Process(pid).create_time() * 1000)}"


def is_alive(pid: int, started: float) -> bool:
    """Whether the process of that id is the one that started then (seconds since 1970), and has not ended."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def token_is_alive(token: str) -> bool:
    """Whether the process of a mark is running."""
    pid, _, started = token.partition("-")
    try:
        return is_alive(int(pid), int(started) / 1000)
    except ValueError:
        return False
