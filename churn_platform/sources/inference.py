"""What inference says: a contract, and for every role in it the reason and the doubt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from churn_platform.sources.contract import Contract, plain

NOT_READ = "not read"
"""The role of a column that is left out."""


@dataclass(frozen=True)
class Decision:
    """One role.

    Args:
        role: the place in the contract, such as ``label.column`` or ``tables.snapshot.columns.tenure``; or
            ``not read``.
        column: the company's column, or None where the decision is about none.
        reason: why.
        doubt: what should be looked at, since the data alone cannot tell; None where there is none.
        line: what inference cannot know, as a line to fill in; it stands commented out after the role's own.
        within: of a column that is not read: the mapping that its line belongs to, such as
            ``tables.snapshot.columns``.
    """

    role: str
    column: str | None
    reason: str
    doubt: str | None = None
    line: str | None = None
    within: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """For programs."""
        return {
            "role": self.role,
            "column": self.column,
            "reason": self.reason,
            "doubt": self.doubt,
            "line": self.line,
        }

    @property
    def comment(self) -> str:
        """The text of the YAML comment, on one line."""
        text = f"{self.reason}. DOUBT: {self.doubt}" if self.doubt else self.reason
        return " ".join(text.split())


NO_ARRIVAL = "no column's name says when rows arrive, so each counts as known at its event time"
ARRIVAL_DOUBT = "is there a load time? Then fill in the next line"
CURRENCY = Decision("currency", None, "assumed", "in which currency are the amounts?")
HORIZON = Decision(
    "label.horizon_days",
    None,
    "assumed: one leaves within 30 days of the observation date, and that is recorded within 7 days more",
    "how far ahead must you know, and how late are departures recorded?",
)


@dataclass(frozen=True)
class Inference:
    """A proposed contract and how it came about."""

    contract: Contract
    decisions: tuple[Decision, ...]

    @property
    def doubts(self) -> tuple[Decision, ...]:
        """The decisions that a person should look at."""
        return tuple(decision for decision in self.decisions if decision.doubt)

    def to_yaml(self) -> str:
        """The contract as YAML in which each reason is a comment; it loads as an equal contract."""
        at = {d.role: d for d in self.decisions if d.role != NOT_READ and d.line is None}
        after = {d.role: d for d in self.decisions if d.role != NOT_READ and d.line is not None}
        within = [d for d in self.decisions if d.within is not None]
        text = yaml.safe_dump(plain(self.contract), sort_keys=False, allow_unicode=True, width=10_000)
        lines = [_HEADER]
        used: set[str] = set()
        paths = _paths(text)
        ends = {d.within: _end_of(str(d.within), paths) for d in within}
        for position, (path, line) in enumerate(paths):
            decision = at.get(path)
            indent = " " * (len(line) - len(line.lstrip(" -")))
            if decision is not None and path not in used:
                lines.append(f"{indent}# {decision.comment}")
                used.add(path)
            lines.append(line)
            if path and (unknown := after.pop(path, None)) is not None:
                lines += [f"{indent}# {unknown.comment}", f"{indent}# {unknown.line}"]
            for left in within:
                if ends[left.within] == position:
                    inside = " " * (2 * (str(left.within).count(".") + 1))
                    lines += [f"{inside}# {left.column}: {left.comment}", f"{inside}# {left.line}"]
        rest = [d for d in at.values() if d.role not in used] + list(after.values())
        lines += [f"# {d.role}: {d.comment}" for d in rest]
        placed = [d for d in within if ends[d.within] is not None]
        if left_out := [d for d in self.decisions if d.role == NOT_READ and d not in placed]:
            lines.append("# Not read:")
            lines += [f"#   {d.column}: {d.comment}" for d in left_out]
        return "\n".join(lines) + "\n"


_HEADER = "# Proposed by `churn contract infer`: look at each line marked DOUBT, then remove the mark."


def _paths(text: str) -> list[tuple[str, str]]:
    """Each line of block YAML with its dotted path."""
    found: list[tuple[str, str]] = []
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"( *)(?:'([^']*)'|\"([^\"]*)\"|([^\s'\"#-][^:]*)):(?: |$)", line)
        if match is None:
            found.append(("", line))
            continue
        depth = len(match.group(1))
        key = next(group for group in match.groups()[1:] if group is not None)
        while stack and stack[-1][0] >= depth:
            stack.pop()
        stack.append((depth, key))
        found.append((".".join(name for _, name in stack), line))
    return found


def _end_of(mapping: str, paths: Sequence[tuple[str, str]]) -> int | None:
    """The last line of a mapping; None where it is not there."""
    inside = [n for n, (path, _) in enumerate(paths) if path == mapping or path.startswith(f"{mapping}.")]
    if not inside:
        return None
    last = inside[-1]
    while last + 1 < len(paths) and not paths[last + 1][0]:  # items of a list and texts that go on
        last += 1
    return last


def canonical_names(columns: Sequence[str], reserved: Sequence[str]) -> dict[str, str]:
    """A name of letters, digits and ``_`` for every column of the company's; differing without regard to
    case."""
    taken = {name.casefold() for name in reserved}
    names: dict[str, str] = {}
    for column in columns:
        base = re.sub(r"[^A-Za-z0-9_]+", "_", column.strip()).strip("_") or "column"
        base = f"c_{base}" if base[0].isdigit() else base
        name, number = base, 2
        while name.casefold() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.casefold())
        names[column] = name
    return names


def column_plain(canonical: str, source: str, **fields: Any) -> dict[str, Any]:
    """The plain form of a column; ``source`` only where it differs."""
    value = {key: item for key, item in fields.items() if item is not None}
    return {**value, **({"source": source} if source != canonical else {})}
