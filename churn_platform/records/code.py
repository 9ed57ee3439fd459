"""The version of our own code, as a digest of its source files: what Dagster calls ``code_version``."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def code_digest(*places: str, but: tuple[str, ...] = ()) -> str:
    """First 12 hex digits of the SHA-256 over the source files below some places of ``churn_platform``.

    Args:
        places: packages or modules relative to ``churn_platform``, such as ``"features"`` or ``"sources/door.py"``.
        but: places inside them that do not count.

    A change of any of their lines makes what was made with them stale; a number kept by hand would be forgotten.
    """
    digest = hashlib.sha256()
    for place in places:
        root = PACKAGE / place
        files = [root] if root.is_file() else sorted(root.rglob("*.py"))
        if not files:
            raise FileNotFoundError(f"no source files at churn_platform/{place}")
        for file in files:
            if any(file.is_relative_to(PACKAGE / place) for place in but):
                continue
            digest.update(file.relative_to(PACKAGE).as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
