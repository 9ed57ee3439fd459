"""From an artifact back to everything that it was made from, by the recorded inputs of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from churn_platform.records.history import History, Made
from churn_platform.records.provenance import digest_of


@dataclass
class Trace:
    """What was found behind an artifact.

    Attributes:
        steps: every step, by asset; oldest partition first.
        outside: inputs from outside the graph (``source:usage``, ``contract:churn``, ``config:challenger``) → the
            digests that were read.
        missing: what the records do not tell, in words.
    """

    steps: dict[str, list[Made]] = field(default_factory=dict)
    outside: dict[str, set[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def one(self, asset: str) -> Made | None:
        """The step of an asset without partitions."""
        found = self.steps.get(asset, [])
        return found[0] if found else None


def trace(history: History, *roots: Made) -> Trace:
    """Follow the inputs of ``roots`` to the raw tables.

    Where an input says "all partitions", the state of the asset at that time is put together anew, and counts only if
    its digest is the recorded one.
    """
    found = Trace()
    seen: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        made = waiting.pop()
        if (made.name, made.digest) in seen:
            continue
        seen.add((made.name, made.digest))
        found.steps.setdefault(made.asset, []).append(made)
        for selector, digest in made.inputs.items():
            if ":" in selector:
                found.outside.setdefault(selector, set()).add(digest)
                continue
            inputs = _inputs(history, selector, digest, made.made_at)
            if inputs is None:
                found.missing.append(
                    f"{made.name} was made from {selector} ({digest[:12]}), of which there is no record"
                )
            else:
                waiting += inputs
    for steps in found.steps.values():
        steps.sort(key=lambda one: (str(one.partition), one.made_at))
    found.missing.sort()
    return found


def _inputs(history: History, selector: str, digest: str, before: str) -> list[Made] | None:
    """The steps that a recorded input stands for, or None where the records do not hold them."""
    asset, _, key = selector.rpartition("@")
    if not asset:
        asset, key = selector, ""
    if key == "*":
        return _whole_state(history.state(asset, before), digest)
    partition: str | None = key or None
    if key == "^":
        # The newest partition at that time, with what had become known since (see provenance.newest_digest).
        partition, digest = digest.split(":")[:2]
    made = history.find(asset, digest, partition=partition, before=before)
    return [made] if made is not None else None


def _whole_state(state: Mapping[str, Made], digest: str) -> list[Made] | None:
    digests = {partition: made.digest for partition, made in state.items()}
    return list(state.values()) if digest_of(digests) == digest else None
