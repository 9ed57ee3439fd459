"""Reading the online store: every answer is a whole vector of one instant, or says why there is none."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from churn_platform import clock
from churn_platform.errors import NotReadyError
from churn_platform.features.feast_objects import JOIN_KEY, service_name
from churn_platform.features.feast_store import open_feast
from churn_platform.records.database import configured
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.records.home import Home

# SQLite takes up to 32,766 values in one query.
_CHUNK = 10_000
# How long a reader may go on without noticing that a newer month was materialized.
_REFRESH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a customer has no vector.

    Attributes:
        reason: ``not_found``: never online; ``not_current``: online from an earlier observation date, no
            customer at the newest; ``expired``: older than the time to live; ``mixed``: its views are of
            different instants (a
            materialization is under way or was killed: ask again or run it again).
        event_timestamp: of the newest view, where there is one.
    """

    reason: Literal["not_found", "not_current", "expired", "mixed"]
    event_timestamp: datetime | None = None


Vector: TypeAlias = dict[str, Any]


class OnlineReader:
    """The newest vectors of a home, through Feast. Safe to use from several threads.

    Args:
        home: the home; its catalogue must have been applied.
        problem: names the feature service; ``settings().problem`` by default.

    Raises:
        NotReadyError: where nothing was applied yet.
    """

    def __init__(self, home: Home, *, problem: str | None = None) -> None:
        from feast.errors import FeatureServiceNotFoundException

        if configured() is None and not (home.feast / "registry.db").exists():
            raise _not_ready()
        self._feast = open_feast(home)
        try:
            self._service = self._feast.get_feature_service(service_name(problem or settings().problem))
        except FeatureServiceNotFoundException as error:
            raise _not_ready() from error
        views = [self._feast.get_feature_view(one.name) for one in self._service.feature_view_projections]
        self._ttl = {view.name: view.ttl or timedelta(0) for view in views}
        self._view_of = {
            feature.name: one.name for one in self._service.feature_view_projections for feature in one.features
        }
        self._newest: datetime | None = None
        self._newest_read = -math.inf
        self._lock = threading.Lock()

    @property
    def features(self) -> tuple[str, ...]:
        """The names in a vector, beside ``event_timestamp``."""
        return tuple(self._view_of)

    def get(self, pseudonyms: Sequence[str], *, at: datetime | None = None) -> dict[str, Vector | Missing]:
        """The vectors of customers.

        Args:
            pseudonyms: whom to look up.
            at: the present against which the time to live counts (aware); ``clock.now()`` by default.

        Returns:
            pseudonym → ``{feature: float, text or None, "event_timestamp": aware UTC}``, or :class:`Missing`.
        """
        now = at or clock.now()
        answers: dict[str, Vector | Missing] = {}
        for chunk in _chunks(list(dict.fromkeys(pseudonyms)), _CHUNK):
            with self._lock:
                newest = self._newest_materialized()
                response = self._feast.get_online_features(
                    features=self._service, entity_rows=[{JOIN_KEY: one} for one in chunk]
                )
            answers.update(zip(chunk, self._rows(response, now, newest), strict=True))
        return answers

    def _newest_materialized(self) -> datetime | None:
        """The newest instant that all views were materialized for; None where Feast does not know it."""
        if time.monotonic() - self._newest_read > _REFRESH_SECONDS:
            ends = [self._feast.get_feature_view(name).most_recent_end_time for name in self._ttl]
            self._newest = None if None in ends else min(ends).replace(tzinfo=UTC)
            self._newest_read = time.monotonic()
        return self._newest

    def _rows(self, response: Any, now: datetime, newest: datetime | None) -> Iterator[Vector | Missing]:
        values = response.to_dict()
        names = list(response.proto.metadata.feature_names.val)
        by_name = dict(zip(names, response.proto.results, strict=True))
        results = {name: by_name[name] for name in self._view_of}
        for i in range(len(values[JOIN_KEY])):
            seen: dict[str, datetime | None] = {}
            for name, result in results.items():
                seconds = result.event_timestamps[i].seconds
                # A missing customer is NOT_FOUND in some stores, PRESENT without value or time in others.
                seen[self._view_of[name]] = datetime.fromtimestamp(seconds, UTC) if seconds else None
            yield self._judge(seen, now, newest) or {
                **{name: _plain(values[name][i]) for name in results},
                "event_timestamp": next(iter(seen.values())),
            }

    def _judge(self, seen: dict[str, datetime | None], now: datetime, newest: datetime | None) -> Missing | None:
        times = [moment for moment in seen.values() if moment is not None]
        if not times:
            return Missing("not_found")
        if len(times) < len(seen) or len(set(times)) > 1:
            return Missing("mixed", max(times))
        if newest is not None and times[0] < newest:
            return Missing("not_current", times[0])
        if any(ttl and times[0] + ttl < now for ttl in self._ttl.values()):
            return Missing("expired", times[0])
        return None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _not_ready() -> NotReadyError:
    return NotReadyError("No features are registered in this home yet.", mend="Materialize online_features first.")
