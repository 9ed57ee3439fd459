"""What to simulate: size, seed, difficulty, and which drift sets in when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any

from churn_platform.errors import ConfigurationError
from churn_platform.sources.simulator.presets import DIFFICULTIES, FEEDS, PRESETS


@dataclass(frozen=True)
class SimulationSpec:
    """One simulated company. Equal specs give equal rows, on any number of threads.

    Args:
        accounts: active accounts at every time (leavers are replaced).
        months: calendar months of history; what is known by the end of the last one is written.
        seed: of all random streams.
        preset: the drift that sets in at ``drift_month``; one of :data:`PRESETS`.
        difficulty: one of :data:`DIFFICULTIES`: how much a perfect observer of the state could know
            (AUC of the state oracle about .89, .80, .72).
        start: first day of the first month.
        drift_month: 0-based month in which the preset sets in; ``None`` is two thirds of the history.
        feed: the table that the preset ``missing_feed`` stops.
        advanced: presets of the last months, one each, where the history was continued month by month
            (see :meth:`advanced_by`); they are a part of ``months``.

    Raises:
        ConfigurationError: naming the field, for a value out of its range.
    """

    accounts: int = 5000
    months: int = 18
    seed: int = 7
    preset: str = "none"
    difficulty: str = "default"
    start: date = date(2024, 1, 1)
    drift_month: int | None = None
    feed: str = "usage"
    advanced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _between("accounts", self.accounts, 20, 2_000_000)
        _between("months", self.months, 1, 240)
        _between("seed", self.seed, 0, 2**63 - 1)
        _among("preset", self.preset, PRESETS)
        _among("difficulty", self.difficulty, DIFFICULTIES)
        _among("feed", self.feed, FEEDS)
        for name in self.advanced:
            _among("advanced", name, PRESETS)
        if self.start.day != 1 or not 1990 <= self.start.year <= 2100:
            raise ConfigurationError(
                f"start: {self.start} is not the first day of a month between 1990 and 2100.",
                mend=f"Use {self.start.replace(day=1)}.",
                field="start",
            )
        if self.drift_month is not None:
            _between("drift_month", self.drift_month, 0, 240)
        if len(self.advanced) >= self.months:
            raise ConfigurationError(
                f"advanced: {len(self.advanced)} months were added to a history of {self.months} in all.",
                mend="Give fewer presets in advanced, or more months.",
                field="advanced",
            )

    @property
    def first_drift_month(self) -> int:
        """The 0-based month in which ``preset`` sets in."""
        if self.drift_month is not None:
            return self.drift_month
        return round((self.months - len(self.advanced)) * 2 / 3)

    def month_presets(self) -> tuple[str, ...]:
        """The preset that is at work in each month."""
        plain = self.months - len(self.advanced)
        return tuple(self.preset if m >= self.first_drift_month else "none" for m in range(plain)) + self.advanced

    def advanced_by(self, months: int, preset: str = "none") -> SimulationSpec:
        """The same company ``months`` later, under ``preset`` in the new months. What was written stays true:
        rows known by the old end are the same rows."""
        _between("months", months, 1, 240)
        return replace(
            self,
            months=self.months + months,
            drift_month=self.first_drift_month,
            advanced=self.advanced + (preset,) * months,
        )

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["start"] = self.start.isoformat()
        value["advanced"] = list(self.advanced)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SimulationSpec:
        """The spec of a ``simulation.json``.

        Raises:
            ConfigurationError: for a field that this release does not know, or a value of the wrong form.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(value) - known):
            raise ConfigurationError(
                f"{unknown[0]}: this release's simulator has no such field.",
                mend="Use the release that wrote the file, or simulate anew.",
                field=unknown[0],
            )
        try:
            given = {**value, "start": date.fromisoformat(value.get("start", "2024-01-01"))}
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"start: {value.get('start')!r} is not a date.", mend="Write it as YYYY-MM-01.", field="start"
            ) from error
        given["advanced"] = tuple(value.get("advanced", ()))
        return cls(**given)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of the spec."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _between(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigurationError(
            f"{name}: {value!r} is not a whole number from {low} to {high}.",
            mend=f"Give {name} such a number.",
            field=name,
        )


def _among(name: str, value: str, known: Mapping[str, object] | tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigurationError(
            f"{name}: there is no {value!r}.", mend=f"Use one of: {', '.join(sorted(known))}.", field=name
        )
