"""The champion's files where people and programs look for them: ``CHURN_HOME/champion``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ChurnError
from churn_platform.records.files import remove, write_atomic
from churn_platform.records.jsontext import canonical

if TYPE_CHECKING:
    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

POINTER = "pointer.json"


def project(home: Home, store: ContentStore, champion: Mapping[str, Any]) -> None:
    """Write the champion's package to ``champion/<model digest>/`` and then point ``champion/pointer.json`` at it.

    A projection: it can be made again from the reference at any time. Packages of earlier champions are removed
    after the pointer has moved; they stay in the store.

    Args:
        champion: its reference: ``name``, ``version``, ``model`` (digest of the package's manifest), ``package``
            (tree digest), ``tier``, ``promoted_at``.
    """
    folder = home.champion / champion["model"]
    if folder.is_dir() and not _is_whole(folder, champion["model"]):
        remove(folder)  # altered, or left by a removal that was cut off
    if not folder.is_dir():
        store.export_tree(champion["package"], folder, copy=True)
    pointer = {name: champion[name] for name in ("name", "version", "model", "package", "tier", "promoted_at")}
    write_atomic(home.champion / POINTER, canonical({"schema": "champion_pointer/1", **pointer}) + b"\n")
    for other in home.champion.iterdir():
        if other.is_dir() and other != folder:
            remove(other)


def _is_whole(folder: Path, digest: str) -> bool:
    from churn_platform.champion.package import package_digest

    try:
        return package_digest(folder) == digest
    except (ChurnError, OSError, ValueError, KeyError):
        return False
