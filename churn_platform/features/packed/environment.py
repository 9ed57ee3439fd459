"""LMDB environments: one for each real path in a process, opened when first needed, never used by forked children.

A second open in one process, or one inherited by a fork, corrupts locks; LMDB refuses the former with "already
open in this process". A child that closes what it has inherited also empties its parent's slots in the table of
readers (those of transactions kept for reuse), so that most children, who go on to run another program, only forget it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from churn_platform.errors import HomeError, MissingDependencyError

# Address space, not disk: the file grows as it is written.
MAP_GIB: Final = 32
_READERS: Final = 1024
_SPARE: Final = 64
DATABASES: Final = ("meta", "slot0", "slot1", "departed0", "departed1", "journal")


@dataclass(frozen=True)
class Environment:
    """An open environment and its databases by name."""

    env: Any
    databases: dict[str, Any]
    inode: int

    def __getitem__(self, name: str) -> Any:
        return self.databases[name]


_open: dict[str, Environment] = {}
_inherited: dict[str, Environment] = {}
_lock = threading.Lock()


def environment(path: Path, *, create: bool) -> Environment | None:
    """The process's environment of a folder; None where there is none and ``create`` is not asked for.

    Raises:
        HomeError: the folder cannot be opened or is full.
    """
    real = os.path.realpath(path)
    found, inode = _open.get(real), _inode(real)
    if found is not None and found.inode == inode:
        return found
    with _lock:
        found = _open.get(real)
        if found is not None and found.inode != inode:  # the folder was deleted, and perhaps made anew
            found.env.close()
            del _open[real]
            found = None
        if found is None and real in _inherited:
            _inherited.pop(real).env.close()
        if found is None and (create or inode):
            found = _open[real] = _make(real)
    return found


def reading(db: Environment) -> Any:
    """A read transaction. One whose slot a forked child has emptied is dropped, and the next taken."""
    import lmdb

    for _ in range(_SPARE):
        with suppress(lmdb.BadRslotError):
            return db.env.begin()
    return db.env.begin()


def close(path: Path) -> None:
    """Close a folder's environment in this process; nobody may be reading."""
    with _lock:
        found = _open.pop(os.path.realpath(path), None)
    if found is not None:
        found.env.close()


def _make(real: str) -> Environment:
    try:
        import lmdb
    except ImportError as error:
        raise MissingDependencyError("The package lmdb is not installed.", mend="Run `make setup`.") from error
    Path(real).mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        env = lmdb.open(
            real,
            map_size=MAP_GIB << 30,
            max_dbs=len(DATABASES),
            max_readers=_READERS,
            max_spare_txns=_SPARE,
            mode=0o600,
            readahead=True,
            metasync=True,
        )
        # the databases exist from the first open on, so that readers never need a write transaction
        with env.begin(write=True) as txn:
            databases = {name: env.open_db(name.encode(), txn=txn) for name in DATABASES}
    except lmdb.Error as error:
        raise HomeError(
            f"The online store {real} cannot be opened: {error}.",
            mend="See that the folder may be written and the disk has space, or delete it and materialize again.",
        ) from error
    return Environment(env, databases, _inode(real))


def _inode(real: str) -> int:
    """Which file this is; 0 where there is none."""
    try:
        return os.stat(f"{real}/data.mdb").st_ino  # noqa: PTH116 - on the hot path
    except OSError:
        return 0


def _forget_in_child() -> None:
    """A forked child must not use what its parent opened: it closes that only where it opens the same store itself."""
    global _lock
    _lock = threading.Lock()
    _inherited.update(_open)
    _open.clear()


os.register_at_fork(after_in_child=_forget_in_child)
