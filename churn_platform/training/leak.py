"""What the leak gate finds, and how it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from churn_platform.errors import TrainingError

Kind = Literal["label", "post_outcome", "future", "duplicates", "separates", "missingness"]


@dataclass(frozen=True)
class Leak:
    """One leak.

    Args:
        kind: which rule found it.
        column: the column, as ``table.column`` where it is one of a contract, or the feature.
        evidence: what was seen, as a sentence.
        mend: what to do about it, as a sentence.
    """

    kind: Kind
    column: str
    evidence: str
    mend: str

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {"kind": self.kind, "column": self.column, "evidence": self.evidence, "mend": self.mend}

    def __str__(self) -> str:
        return f"{self.column} leaks the outcome ({self.kind.replace('_', ' ')}): {self.evidence} {self.mend}"


def refuse(leaks: Sequence[Leak]) -> None:
    """Stop a training that would learn from leaks.

    Raises:
        TrainingError: there is any; the message names the first and lists the others, ``field`` is its column.
    """
    if not leaks:
        return
    first, *others = leaks
    more = f" Also: {'; '.join(f'{leak.column} ({leak.evidence})' for leak in others)}" if others else ""
    raise TrainingError(
        f"{first.column} leaks the outcome ({first.kind.replace('_', ' ')}): {first.evidence}{more}",
        mend=first.mend,
        field=first.column,
    )
