"""A source of another machine, looked at again from time to time."""

from __future__ import annotations

import time
from pathlib import Path

from churn_platform.records.home import Home
from churn_platform.settings import settings
from churn_platform.sources.location import copy_folder, find_location, folder
from churn_platform.sources.readers_url import parse_source
from churn_platform.sources.remote import bring, needs_copy


def refresh(home: Home, problem: str) -> bool:
    """Bring the copy of a database or bucket up to date, where there is one and it was not looked at for
    ``settings().source_poll_seconds``. Files of this machine are read where they stand. Whether anything was read.

    Raises:
        SourceError: the source, a table or a column is not there or may not be read.
    """
    location = find_location(home, problem)
    if location is None:
        return False
    origin = parse_source(location.origin)
    if not needs_copy(location.contract, origin):
        return False
    stamp = folder(home, problem) / "looked_at"
    if time.time() - _changed(stamp) < settings().source_poll_seconds:
        return False
    loaded = bring(location.contract, origin, copy_folder(home, problem))
    stamp.touch()
    return any(load.mode != "unchanged" for load in loaded.values())


def _changed(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0
