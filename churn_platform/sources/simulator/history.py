"""What happened: the record that the tables are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.population import Cohort
from churn_platform.sources.simulator.spec import SimulationSpec
from churn_platform.sources.simulator.timeline import Timeline

STAYED = np.int64(1 << 40)
"""End day of accounts that have not left."""


class Log:
    """Events as columns, in the order in which they happened."""

    def __init__(self) -> None:
        self._parts: list[dict[str, NDArray[Any]]] = []

    def add(self, **columns: NDArray[Any]) -> None:
        if len(next(iter(columns.values()))):
            self._parts.append(columns)

    def table(self) -> dict[str, NDArray[Any]]:
        """All columns; an empty dict where nothing happened."""
        if not self._parts:
            return {}
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}


@dataclass(frozen=True)
class Week:
    """The slots in one week (arrays of length N).

    ``leave`` is the offset of the day on which the account leaves, 7 where it stays; ``present`` says whether
    the champion is there; ``price`` is pressure times sensitivity.
    """

    serial: NDArray[np.int32]
    health: NDArray[np.float32]
    price: NDArray[np.float32]
    present: NDArray[np.bool_]
    seats: NDArray[np.int32]
    leave: NDArray[np.int8]


@dataclass(frozen=True)
class MonthState:
    """The hidden state in a week that holds a month's start, or follows one."""

    serial: NDArray[np.int64]
    mood: NDArray[np.float64]
    champion: NDArray[np.float64]
    pressure: NDArray[np.float64]
    renewal: NDArray[np.int64]
    index_ratio: NDArray[np.float64]
    treatment: NDArray[np.float64]
    treated_until: NDArray[np.int64]
    hazard: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Active:
    """The accounts in the slots on one day. ``newcomer`` marks those that are found in the following week."""

    serial: NDArray[np.int64]
    newcomer: NDArray[np.bool_]
    there: NDArray[np.bool_]


class History:
    """The record of one run; ``accounts`` and ``end_day`` exist once it is closed."""

    accounts: Cohort
    end_day: NDArray[np.int64]

    def __init__(self, spec: SimulationSpec, timeline: Timeline) -> None:
        self.spec, self.timeline = spec, timeline
        self.weeks: list[Week] = []
        self.states: dict[int, MonthState] = {}
        self.versions, self.invoices, self.interventions, self.departures = Log(), Log(), Log(), Log()
        months = timeline.month_starts // 7
        self._state_weeks = frozenset(months.tolist()) | frozenset((months + 1).tolist())

    def add_week(self, week: Week) -> None:
        self.weeks.append(week)

    def needs_state(self, week: int) -> bool:
        return week in self._state_weeks

    def close(self, accounts: Cohort) -> None:
        self.accounts = accounts
        self.end_day = np.full(len(accounts), STAYED)
        if gone := self.departures.table():
            self.end_day[gone["serial"]] = gone["day"]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Accounts that the company has records of: those that were there on day 0 or came later."""
        return self.end_day >= 0

    def on(self, day: int) -> Active:
        """Who is in the slots during the whole of ``day``: signed up before it, not leaving on it."""
        week, offset = divmod(day, 7)
        now, following = self.weeks[week], self.weeks[week + 1]
        newcomer = now.leave < offset
        serial = np.where(newcomer, following.serial, now.serial).astype(np.int64)
        there = (now.leave != offset) & (self.accounts.start[serial] < day)
        return Active(serial, newcomer, there)
