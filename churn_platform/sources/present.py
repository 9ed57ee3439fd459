"""The present of a home's data: the wall clock for live tables, the end of what they know for simulated and historical
ones. It moves on with the data, also for processes that are running."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Final

from churn_platform import clock, settings
from churn_platform.records.home import Home
from churn_platform.sources.location import SourceLocation, folder, save_location

LIVE_DAYS: Final = 35
VARIABLE: Final = "CHURN_AS_OF"
FROM_HOME: Final = "CHURN_AS_OF_FROM_HOME"
"""Holds the value of CHURN_AS_OF where that came from a home: a value of the user's own is left alone."""


def fix_present(home: Home, problem: str, location: SourceLocation, as_of: datetime) -> bool:
    """Let simulated and historical data have a present of their own: the end of what they know.

    Tables whose newest row is at most ``LIVE_DAYS`` old are taken to be live and go by the wall clock. Whether the
    present has changed.

    Args:
        as_of: end of the data, naive UTC.
    """
    moment = as_of.replace(tzinfo=UTC)
    # a simulated company may be carried on past today
    simulated = location.path.resolve() == (folder(home, problem) / "simulated").resolve()
    recent = not simulated and clock.wall() - moment <= timedelta(days=LIVE_DAYS)
    live = location.contract.shape == "snapshot" or recent
    present = None if live else moment
    if present == location.as_of:
        return False
    save_location(home, problem, location.path, location.contract_text, as_of=present, origin=location.origin)
    return True


def is_ours() -> bool:
    """Whether CHURN_AS_OF may follow the home: it is not set, or was set from a home and not by the user."""
    return VARIABLE not in os.environ or os.environ.get(FROM_HOME) == os.environ[VARIABLE]


def variables(home: Home, problem: str) -> dict[str, str]:
    """The variables that give a process the present of this home's data; none where that is the wall clock, or where
    the user has set one."""
    pointer = folder(home, problem) / "source.json"
    if not is_ours() or not pointer.is_file():
        return {}
    as_of = json.loads(pointer.read_bytes()).get("as_of")
    return {VARIABLE: as_of, FROM_HOME: as_of} if as_of else {}


def follow(home: Home, problem: str) -> None:
    """Let this process live in the present of this home's data, wherever that has moved to."""
    if not is_ours():
        return
    found = variables(home, problem)
    if os.environ.get(VARIABLE) == found.get(VARIABLE):
        return
    os.environ.pop(VARIABLE, None)
    os.environ.pop(FROM_HOME, None)
    os.environ.update(found)
    settings.reload()
