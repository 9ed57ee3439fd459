"""What killed processes have left is removed at the next start: half-written files, spilled rows, local copies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from churn_platform.records.files import remove
from churn_platform.records.home import Home
from churn_platform.records.owner import is_left, kind_of

SCRATCH: Final = frozenset({"door", "source", "unpacked"})
"""Kinds of folders that may stand in the system's folder for temporary files: they hold a company's own rows."""
_ELSEWHERE: Final = frozenset({"objects", "bentos", "dagster"})
"""Folders of a home in which nothing of ours is ever half-written, and which are large."""


def sweep(folder: Path, kinds: Collection[str] | None = None) -> list[Path]:
    """Remove what is left in a folder (not below it); what belongs to a running process, or to nobody, stays.

    Args:
        kinds: only these; all by default.

    Returns:
        What was removed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    left = [path for path in entries if _ours(path, kinds) and is_left(path)]
    for path in left:
        remove(path)
    return left


def sweep_system() -> list[Path]:
    """Remove what is left in the system's folder for temporary files, by processes of this user."""
    return sweep(Path(tempfile.gettempdir()), SCRATCH)


def sweep_home(home: Home) -> list[Path]:
    """Remove what is left anywhere in a home, and in the system's folder for temporary files.

    Safe at any time: processes that are running keep what is theirs.
    """
    found = [path for folder in _folders(home.root) for path in sweep(folder)]
    return [*found, *sweep_system()]


def _folders(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        names[:] = [name for name in names if name not in _ELSEWHERE and kind_of(Path(name)) is None]
        yield Path(folder)


def _ours(path: Path, kinds: Collection[str] | None) -> bool:
    if (kind := kind_of(path)) is None or (kinds is not None and kind not in kinds):
        return False
    try:
        return path.lstat().st_uid == os.getuid()
    except OSError:
        return False
