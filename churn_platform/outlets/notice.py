"""What has happened in a home and is not announced yet, found from the state that it has left.

The state is the truth, so a crash between a promotion and its announcement loses nothing: whoever looks next makes the
announcement, and a key makes it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from churn_platform.monitoring.alerts import alerts
from churn_platform.outlets.kinds import LIST_READY
from churn_platform.outlets.lists import ListFacts, present_list
from churn_platform.outlets.outbox import Outbox
from churn_platform.records.refs import Refs
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.outlets.kinds import Announcement
    from churn_platform.records.home import Home

CHAMPION_CHANGED: Final = "champion.changed"
DATA_FAULT: Final = "data.fault"


def announce(home: Home, kind: str, payload: Mapping[str, Any], *, key: str) -> Announcement | None:
    """Put something into the home's outbox, for every outlet that wants to know; durable when this returns.

    Args:
        kind: one of :data:`churn_platform.outlets.kinds.EVENTS`.
        key: what it is about: the same key is announced once (then None is returned).
    """
    return Outbox.open(home).announce(kind, payload, key=f"{kind}:{key}")


def notice(home: Home, outbox: Outbox | None = None, *, made: ListFacts | None = None) -> list[Announcement]:
    """Announce what there is to announce: a new list, another champion, data faults.

    Args:
        made: the list that has just been published; default: the one that was published last. A list that is scored
            but not diagnosed yet is not announced.
    """
    box = outbox or Outbox.open(home)
    found = [*_list(made or present_list(Refs(home.refs)), box), *_champion(home, box), *_faults(home)]
    told = [box.announce(kind, data, key=key) for kind, key, data in found if not box.has(key)]
    return [one for one in told if one is not None]


def _list(facts: ListFacts | None, box: Outbox) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if facts is None:
        return
    before = box.newest(LIST_READY)
    # The same list made again is nothing new; one that comes back after another one is, or that is marked otherwise.
    told = () if before is None else (before.data["month"], before.data["digest"], before.data.get("degraded"))
    if told != (facts.month, facts.digest, facts.degraded):
        yield LIST_READY, f"{LIST_READY}:{facts.month}:{facts.digest}:{facts.made_at}", facts.to_json()


def _champion(home: Home, box: Outbox) -> Iterator[tuple[str, str, dict[str, Any]]]:
    ref = Refs(home.refs).find("champion")
    if ref is None:
        return
    before = box.newest(CHAMPION_CHANGED)
    if before is not None and (before.data["version"], before.data["model"]) == (ref["version"], ref["model"]):
        return
    data = {
        "problem": settings().problem,
        **{name: ref[name] for name in ("name", "version", "model", "tier", "promoted_at")},
        "cause": ref.get("cause") or {},
        "previous": {"version": before.data["version"], "model": before.data["model"]} if before else None,
    }
    yield CHAMPION_CHANGED, f"{CHAMPION_CHANGED}:{ref['version']}:{ref['model']}:{ref['promoted_at']}", data


def _faults(home: Home) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for alert in alerts(home):
        if alert.kind == "data_fault":
            data = {
                "problem": settings().problem,
                "feed": alert.feed,
                "month": alert.month,
                "title": alert.title,
                "detail": alert.detail,
                "raised_at": alert.raised_at,
            }
            yield DATA_FAULT, f"{DATA_FAULT}:{alert.id}", data
