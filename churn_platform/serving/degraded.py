"""Whether predictions stand on data that cannot be trusted: said by the diagnosis, read by the service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from churn_platform.records.files import write_atomic
from churn_platform.serving.schemas import Degraded

if TYPE_CHECKING:
    from churn_platform.records.home import Home

FILE = "degraded.json"


def mark(home: Home, *, month: str, reason: str, feeds: Sequence[str]) -> None:
    """Let every answer say so from now on."""
    value = {"schema": "degraded/1", "month": month, "reason": reason, "feeds": list(feeds)}
    write_atomic(home.champion / FILE, json.dumps(value).encode())


def clear(home: Home) -> None:
    """Answers are as good as they ever are."""
    (home.champion / FILE).unlink(missing_ok=True)


def degraded(home: Home) -> Degraded | None:
    """What the answers must say now, or None."""
    try:
        kept = json.loads((home.champion / FILE).read_bytes())
    except FileNotFoundError:
        return None
    return Degraded(reason=str(kept["reason"]), feeds=[str(feed) for feed in kept["feeds"]], since=str(kept["month"]))


def for_vector(
    reads: AbstractSet[str], values: Mapping[str, Any], month: str, known: Degraded | None
) -> Degraded | None:
    """What an answer by id must say: what is known of the data, or that its vector lacks features that the model reads.

    Args:
        reads: the features of the model.
        values: the online vector.
        month: of the vector.
    """
    if known is not None or values.keys() >= reads:
        return known
    absent = sorted(reads - values.keys())
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    return Degraded(reason=f"The model reads {absent[0]}{more}, which is not online.", feeds=[], since=month)
