"""The same company some months later: what a company's systems would have delivered since."""

from __future__ import annotations

import filecmp
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from churn_platform.errors import SourceMissingError
from churn_platform.sources.simulator.oracle import FUTURES
from churn_platform.sources.simulator.simulate import Progress, Simulation, simulate
from churn_platform.sources.simulator.spec import SimulationSpec

FACTS = "simulation.json"


@dataclass(frozen=True)
class Advance:
    """What was delivered.

    Args:
        as_of: the new end of the history (naive UTC).
        new: files that were not there before, relative to the folder.
        changed: tables that were delivered anew, since they are kept whole.
    """

    simulation: Simulation
    new: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def as_of(self) -> datetime:
        return self.simulation.as_of


def advance(
    folder: Path, months: int = 1, preset: str = "none", *, progress: Progress | None = None, futures: int = FUTURES
) -> Advance:
    """Let ``months`` pass under ``preset``, and deliver what has become known.

    Usage comes as new files, one a month; tables that are kept whole are replaced, each by one rename: rows that were
    known before are the same rows, and what is overwritten in place (``accounts``) is overwritten. ``simulation.json``
    moves last, so that a delivery that was cut off is made good by the next one.

    Raises:
        SourceMissingError: the folder holds no simulation.
        ConfigurationError: a preset or number of months that there is not.
    """
    facts = folder / FACTS
    if not facts.is_file():
        raise SourceMissingError(
            f"{folder} holds no simulated company.",
            mend="Give a folder that `churn simulate new` has written, or a home whose demo was simulated.",
        )
    spec = SimulationSpec.from_json(json.loads(facts.read_text(encoding="utf-8"))["spec"])
    later = spec.advanced_by(months, preset)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        made = simulate(later, work / "made", progress=progress, futures=futures)
        new, changed = _deliver(work / "made", folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Advance(made, new, changed)


def _deliver(made: Path, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Move files that are new or different; the contract stays as it is, it may have been edited."""
    new, changed = [], []
    files = sorted(f for f in made.rglob("*") if f.is_file() and f.name not in (FACTS, "contract.yaml"))
    for file in [*files, made / FACTS]:
        name = file.relative_to(made)
        target = folder / name
        if target.is_file():
            if filecmp.cmp(file, target, shallow=False):
                continue
            changed.append(name.as_posix())
        else:
            new.append(name.as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    return tuple(new), tuple(changed)
