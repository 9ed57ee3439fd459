"""Names of temporary files and folders that say whose they are: a process that was killed removes nothing itself.

A name is ``<kind>-<pid>-<start>-<place>-<random>``. Process ids come back, so the start of the process is in it (on
Linux in clock ticks since boot, which no step of the clock moves). Two machines or containers that share a folder know
nothing of each other's processes, so that the place is in it too.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path

_NAME = re.compile(r"(?P<kind>.+)-(?P<pid>\d+)-(?P<start>\d+)-(?P<place>[0-9a-f]{6})-[0-9a-f]{16}")
_LINUX = sys.platform.startswith("linux")
FOREIGN_SECONDS = 86_400.0
"""What a process of another place has left is taken to be left when nobody has touched it for so long."""


def named(kind: str) -> str:
    """A name that nobody else uses, for something of this process; nothing is created."""
    return f"{kind}-{_mark(os.getpid())}-{secrets.token_hex(8)}"


def scratch(kind: str, parent: Path | None = None) -> Path:
    """A new folder of this process, for its user alone; by default in the system's folder for temporary files."""
    folder = (parent or Path(tempfile.gettempdir())) / named(kind)
    folder.mkdir(mode=0o700)
    return folder


def kind_of(path: Path) -> str | None:
    """The kind in a name that :func:`named` has given; None for any other."""
    found = _NAME.fullmatch(path.name)
    return found["kind"] if found else None


def is_left(path: Path) -> bool:
    """Whether the process that a name speaks of is gone. A file with another name is nobody's, and not left."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return False
    if found["place"] == _place():
        return _started(int(found["pid"])) != int(found["start"])
    try:
        return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
    except OSError:
        return False


@lru_cache(maxsize=4)
def _mark(pid: int) -> str:
    """Of a running process; a forked child has another id, and so a mark of its own."""
    return f"{pid}-{_started(pid)}-{_place()}"


def _started(pid: int) -> int | None:
    """When a process began; None where none of that id is running."""
    if not _LINUX:
        return _started_elsewhere(pid)
    try:
        # the program's name stands in brackets and may hold anything, brackets too
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _started_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time())
    except psutil.Error:
        return None


@lru_cache(maxsize=1)
def _place() -> str:
    """Six digits for what process ids are counted in: this boot of this machine, and the container on it."""
    facts = [os.uname().nodename]
    if _LINUX:
        counted_in = Path("/proc/self/ns/pid").readlink()
        facts = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), str(counted_in)]
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:6]
