"""A delivery takes time: half a file, or half of its files, looks like a feed that has dried up."""

from __future__ import annotations

import time
from pathlib import Path

from churn_platform.records.home import Home
from churn_platform.sources.location import SourceLocation
from churn_platform.sources.readers import locate

LONGEST = 20
"""A source that never rests, as one that is appended to all the time, is waited for so many times as long."""


def still_arriving(home: Home, location: SourceLocation, seconds: float) -> str | None:
    """The newest file, where it changed less than ``seconds`` ago; None where the source rests, or never does.

    Goes by the time of the inode's change: copies often keep the time of the content's.
    """
    since = home.run / "arriving_since"
    name, age = _newest(location)
    if age >= seconds:
        since.unlink(missing_ok=True)
        return None
    if not since.exists():
        since.touch()
    elif time.time() - since.stat().st_mtime > LONGEST * seconds:
        return None
    return name


def _newest(location: SourceLocation) -> tuple[str, float]:
    """The file that changed last, and how many seconds ago."""
    files: set[Path] = set()
    for table, spec in location.contract.tables.items():
        files.update(locate(spec, location.path, name=table))
    changed, newest = max(((file.stat().st_ctime, file.name) for file in files), default=(0.0, ""))
    return newest, time.time() - changed
