"""Where a problem's raw tables stand and under which contract: kept in the home, read by the assets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from churn_platform.errors import SourceMissingError
from churn_platform.records.files import write_atomic
from churn_platform.records.home import Home
from churn_platform.sources.calendar import Calendar
from churn_platform.sources.contract import Contract, load_contract
from churn_platform.sources.file_digests import FileDigests
from churn_platform.sources.rates import converts, rate_files
from churn_platform.sources.readers import locate


@dataclass(frozen=True)
class SourceLocation:
    """The raw tables of one problem.

    Args:
        path: the folder or file that the contract's paths are relative to.
        contract: what the tables mean.
        contract_text: the contract as written; its digest is a part of every fingerprint.
        facts: the folder of contract.yaml and source.json in the home.
        truth: the simulator's ground truth, for the oracle only; never read by features.
        as_of: what counts as now for simulated and historical data (aware); None is the wall clock.
        origin: the URL or folder that ``path`` is a copy of; else ``path`` itself.
    """

    path: Path
    contract: Contract
    contract_text: str
    facts: Path
    truth: Path | None = None
    as_of: datetime | None = None
    origin: str = ""

    @property
    def calendar(self) -> Calendar | None:
        """What was found of the tables' times, where it still holds: reading them anew costs a pass over each."""
        facts = self._kept_calendar
        return _calendar(facts) if facts and facts["fingerprints"] == self.fingerprints() else None

    @property
    def calendar_before(self) -> Calendar | None:
        """What was found last in this place, whatever has changed there since."""
        facts = self._kept_calendar
        return _calendar(facts) if facts and facts.get("origin", self.origin) == self.origin else None

    @property
    def _kept_calendar(self) -> dict[str, Any] | None:
        kept = self.facts / "calendar.json"
        return dict(json.loads(kept.read_text())) if kept.is_file() else None

    def keep_calendar(self, calendar: Calendar) -> None:
        """Keep it beside the contract, for as long as the tables' files stay as they are."""
        first = calendar.first_event
        found = {
            "first_event": first.isoformat() if first else None,
            "as_of": calendar.as_of.isoformat(),
            "observations": list(calendar.observations),
        }
        facts = {"schema": "calendar/1", "fingerprints": self.fingerprints(), "calendar": found}
        facts["origin"] = self.origin
        write_atomic(self.facts / "calendar.json", json.dumps(facts).encode())

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each table."""
        return {table: self.fingerprint(table) for table in self.contract.tables}

    def fingerprint(self, table: str) -> str:
        """Digest of the contract and of the table's files (path and content): says whether to look again.

        A file is read once for as long as its size and time of change stay. The files are those that the door opens.

        Raises:
            SourceMissingError, ContractError: what :func:`~churn_platform.sources.readers.locate` raises.
        """
        root = self.path if self.path.is_dir() else self.path.parent
        spec = self.contract.tables[table]
        files = locate(spec, self.path, name=table)
        if spec.via is not None:  # whose its rows are is said there
            files += locate(self.contract.tables[spec.via.table], self.path, name=spec.via.table)
        if converts(self.contract, spec):
            files += rate_files(self.contract, self.path)
        names = [f.relative_to(root).as_posix() if f.is_relative_to(root) else str(f) for f in files]
        known = FileDigests(self.facts / "digests.json")
        text = json.dumps([self.contract_text, list(zip(names, known.of(files), strict=True))])
        return hashlib.sha256(text.encode()).hexdigest()


def _calendar(facts: Mapping[str, Any]) -> Calendar:
    found = facts["calendar"]
    first = found["first_event"]
    return Calendar(
        first_event=datetime.fromisoformat(first) if first else None,
        as_of=datetime.fromisoformat(found["as_of"]),
        observations=tuple(found["observations"]),
    )


def folder(home: Home, problem: str) -> Path:
    """``<home>/sources/<problem>``."""
    return home.sources / problem


def copy_folder(home: Home, problem: str) -> Path:
    """Where the local copy of tables from elsewhere stands. Raw customer ids may be there."""
    return folder(home, problem) / "extract"


def save_location(
    home: Home,
    problem: str,
    path: Path,
    contract_text: str,
    *,
    as_of: datetime | None = None,
    origin: str | None = None,
) -> None:
    """Remember where the tables stand, and their present. The contract is copied, the tables are not.

    Args:
        origin: the URL or folder that ``path`` is a copy of, if it is one.
    """
    root = folder(home, problem)
    root.mkdir(parents=True, exist_ok=True)
    write_atomic(root / "contract.yaml", contract_text.encode())
    relative = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.resolve())
    facts = {
        "schema": "source_location/1",
        "path": relative,
        "as_of": as_of.isoformat() if as_of is not None else None,
    }
    if origin and origin != str(path):
        facts["origin"] = origin
    write_atomic(root / "source.json", json.dumps(facts).encode())


def find_location(home: Home, problem: str) -> SourceLocation | None:
    """The remembered place, or None where no source has been given to this home."""
    root = folder(home, problem)
    pointer = root / "source.json"
    if not pointer.is_file():
        return None
    kept = json.loads(pointer.read_text())
    path = root / str(kept["path"])
    truth, as_of = path / "truth", kept.get("as_of")
    return SourceLocation(
        path=path,
        contract=load_contract(root / "contract.yaml"),
        contract_text=(root / "contract.yaml").read_text(encoding="utf-8"),
        facts=root,
        truth=truth if truth.is_dir() else None,
        as_of=datetime.fromisoformat(as_of) if as_of else None,
        origin=str(kept.get("origin") or path),
    )


def load_location(home: Home, problem: str) -> SourceLocation:
    """The remembered place.

    Raises:
        SourceMissingError: where none has been given, or its path is gone.
    """
    found = find_location(home, problem)
    if found is None:
        raise SourceMissingError(
            f"No source tables are known for the problem {problem!r} in this home.",
            mend="Run `churn demo`, or `churn demo --source PATH` for tables of your own.",
        )
    if not found.path.exists():
        raise SourceMissingError(
            f"The source {found.path} is not there any more.",
            mend="Bring it back, or run `churn demo --source PATH` with its new place.",
        )
    return found
