"""What the leak gate finds, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from churn_platform.errors import TrainingError

if TYPE_CHECKING:
    from churn_platform.sources.contract import Contract

Kind = Literal["label", "post_outcome", "future", "duplicates", "separates", "missingness"]


@dataclass(frozen=True)
class Leak:
    """One leak.

    Args:
        kind: which rule found it.
        column: the column, as ``table.column`` where it is one of a contract, or the feature.
        evidence: what was seen, as a sentence.
        mend: what to do about it, as a sentence.
        review: why it may pass and who says so (``leak_reviewed`` of its columns); None: it stops the training.
    """

    kind: Kind
    column: str
    evidence: str
    mend: str
    review: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """For programs."""
        return {
            "kind": self.kind,
            "column": self.column,
            "evidence": self.evidence,
            "mend": self.mend,
            "review": self.review,
        }

    def __str__(self) -> str:
        return f"{self.column} leaks the outcome ({self.kind.replace('_', ' ')}): {self.evidence} {self.mend}"


def refuse(leaks: Sequence[Leak]) -> None:
    """Stop a training that would learn from leaks that nobody has reviewed.

    Raises:
        TrainingError: there is any; the message names the first and lists the others, ``field`` is its column.
    """
    stopping = [leak for leak in leaks if leak.review is None]
    if not stopping:
        return
    first, *others = stopping
    more = f" Also: {'; '.join(f'{leak.column} ({leak.evidence})' for leak in others)}" if others else ""
    raise TrainingError(
        f"{first.column} leaks the outcome ({first.kind.replace('_', ' ')}): {first.evidence}{more}",
        mend=first.mend,
        field=first.column,
    )


def apply_reviews(leaks: Iterable[Leak], contract: Contract, origins: Mapping[str, frozenset[str]]) -> tuple[Leak, ...]:
    """The leaks, those that people have looked at and let pass with their review, the others with the way to do so.

    A finding about a feature passes where every column that the feature is read from is reviewed: one honest column
    does not vouch for another.

    Args:
        origins: feature → ``table.column`` (``features.origin.origins``).
    """
    return tuple(_reviewed(leak, contract, origins) for leak in leaks)


def _reviewed(leak: Leak, contract: Contract, origins: Mapping[str, frozenset[str]]) -> Leak:
    places = sorted(origins.get(leak.column, {leak.column} if "." in leak.column else ()))
    if not places:
        return leak  # rows, not a column: nobody can vouch for them
    texts = []
    for place in places:
        table, name = place.split(".", maxsplit=1)
        column = contract.tables[table].columns.get(name)
        texts.append(column.leak_reviewed if column else None)
    if all(texts):
        return replace(leak, review="; ".join(dict.fromkeys(str(text) for text in texts)))
    missing = [f"tables.{p.replace('.', '.columns.', 1)}" for p, text in zip(places, texts, strict=True) if not text]
    way = f' Or let it pass, where it is honest, by {" and ".join(missing)}: leak_reviewed: "why, and who says so".'
    return replace(leak, mend=leak.mend + way)
