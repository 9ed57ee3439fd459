"""The version of our own code, as a digest of its source files: what Dagster calls ``code_version``."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from churn_platform.settings import CHECKOUT

PACKAGE = CHECKOUT / "churn_platform"


@cache
def code_digest(*places: str, but: tuple[str, ...] = ()) -> str:
    """First 12 hex digits of the SHA-256 over source files.

    Args:
        places: packages or modules of ``churn_platform``, such as ``"features"`` or ``"sources/door.py"``, or else of
            the checkout, such as ``"assets/training.py"`` or ``"requirements.lock"``.
        but: places inside them that do not count.

    A change of any of their lines makes what was made with them stale; a number kept by hand would be forgotten.

    Raises:
        FileNotFoundError: for a place that is not there.
    """
    digest = hashlib.sha256()
    excluded = [_resolve(place) for place in but]
    for place in places:
        root = _resolve(place)
        files = [root] if root.is_file() else sorted(root.rglob("*.py"))
        for file in files:
            if any(file.is_relative_to(other) for other in excluded):
                continue
            digest.update(file.relative_to(CHECKOUT).as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _resolve(place: str) -> Path:
    for root in (PACKAGE, CHECKOUT):
        if (found := (root / place).resolve()).exists():
            return found
    raise FileNotFoundError(f"there are no source files at {place}")
