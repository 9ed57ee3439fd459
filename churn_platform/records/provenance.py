"""What was made from what: the provenance kept with every reference, and the plan of what must be made anew.

A reference (see :mod:`churn_platform.records.refs`) says which artifact a partition of an asset is. Beside the
digest it keeps the code version and the digest of each input, by *selector*:

- ``usage@2024-03-01``   one partition
- ``usage@*``            all partitions (the digest of their digests)
- ``usage@^``            the newest partition, with what has become known since
- ``champion``           an asset without partitions
- ``config:…``, ``contract:…``, ``source:…``   something outside the graph, given by the caller

A partition is current when its code version and all its recorded inputs are what they would be now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

SINGLE = "-"


class RefReader(Protocol):
    """What the plan needs of the references (:class:`churn_platform.records.refs.Refs`)."""

    def find(self, asset: str, partition: str | None = None) -> dict[str, object] | None: ...

    def partitions(self, asset: str) -> list[str]: ...


@dataclass(frozen=True)
class Node:
    """One asset of the graph.

    Args:
        asset: its name, as in the references.
        code_version: of the code that makes it now.
        partitions: the partitions that should exist; empty for an asset without partitions.
        parents: assets that it reads.
        external: recorded inputs from outside the graph (``config:…``, ``source:…``) to their present digests.
    """

    asset: str
    code_version: str
    partitions: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    external: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What must be made: asset → partitions (``(SINGLE,)`` for an asset without). In the graph's order."""

    stale: Mapping[str, tuple[str, ...]]
    reasons: Mapping[str, str]

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(self.stale)

    def only(self, assets: Collection[str]) -> Plan:
        """The part of the plan that is about these assets."""
        kept = {asset: keys for asset, keys in self.stale.items() if asset in assets}
        return Plan(kept, {asset: self.reasons[asset] for asset in kept})

    def runs(self) -> tuple[Plan, ...]:
        """The plan cut into parts, in order, in each of which all partitioned assets need the same partitions: a run
        has one range for all its assets, and would make more of them than is needed."""
        parts: list[list[str]] = []
        keys: tuple[str, ...] | None = None
        for asset, wanted in self.stale.items():
            if not parts or (wanted != (SINGLE,) and keys not in (None, wanted)):
                parts.append([])
                keys = None
            parts[-1].append(asset)
            keys = keys if wanted == (SINGLE,) else wanted
        return tuple(self.only(part) for part in parts)

    @property
    def partition_range(self) -> tuple[str, str] | None:
        """First and last stale partition over all assets, or None where no partitioned asset is stale."""
        keys = sorted(key for keys in self.stale.values() for key in keys if key != SINGLE)
        return (keys[0], keys[-1]) if keys else None


def digest_of(value: object) -> str:
    """SHA-256 of a JSON value in sorted, compact form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def newest_digest(partition: str | None, ref: Mapping[str, object]) -> str:
    """What ``asset@^`` stands for: the newest partition's digest and, where its reference has one, that of
    ``current``: what is known after that partition's date."""
    later = ref.get("current")
    return f"{partition}:{ref['digest']}" + (f":{digest_of(later)}" if later else "")


def resolve(refs: RefReader, selector: str, external: Mapping[str, str]) -> str | None:
    """The digest that a selector stands for now, or None where there is none."""
    if ":" in selector:
        return external.get(selector)
    asset, _, key = selector.rpartition("@")
    if not asset:
        asset, key = selector, ""
    if key == "*":
        parts = {p: (refs.find(asset, p) or {}).get("digest") for p in refs.partitions(asset)}
        return digest_of(parts) if parts else None
    if key == "^":
        newest = max(refs.partitions(asset), default=None)
        if newest is None:
            return None
        found = refs.find(asset, newest)
        return newest_digest(newest, found) if found else None
    found = refs.find(asset, key or None)
    return str(found["digest"]) if found else None


def make_plan(
    nodes: Sequence[Node],
    refs: RefReader,
    *,
    again: Collection[str] = (),
    lost: Callable[[str, Mapping[str, object]], str | None] = lambda asset, ref: None,
) -> Plan:
    """Which partitions must be made, so that everything is current; those of the assets in ``again`` in any case.

    ``lost(asset, reference)`` says in words where what a reference points at is not there any more.

    ``nodes`` come in topological order. A node below a stale one is taken to be stale: whether its inputs will
    change is known only after they are made.
    """
    stale: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    for node in nodes:
        upstream = [parent for parent in node.parents if parent in stale]
        keys: list[str] = []
        for partition in node.partitions or (None,):
            asked = "asked for" if node.asset in again else None
            reason = asked or _why_stale(node, partition, refs, stale, upstream)
            if reason is None and (found := refs.find(node.asset, partition)) is not None:
                reason = lost(node.asset, found)
            if reason:
                keys.append(partition or SINGLE)
                reasons.setdefault(node.asset, reason)
        if keys:
            stale[node.asset] = tuple(keys)
    return Plan(stale, reasons)


def _why_stale(
    node: Node,
    partition: str | None,
    refs: RefReader,
    stale: Mapping[str, tuple[str, ...]],
    upstream: Sequence[str],
) -> str | None:
    """The reason why a partition must be made anew, in words; None where it is current."""
    found = refs.find(node.asset, partition)
    if found is None:
        return "never made"
    if found.get("code_version") != node.code_version:
        return "its code has changed"
    inputs = found.get("inputs")
    recorded: Mapping[str, str] = inputs if isinstance(inputs, dict) else {}
    for selector, digest in recorded.items():
        if resolve(refs, selector, node.external) != digest:
            return f"{selector} has changed"
    for parent in upstream:
        keys = stale[parent]
        touched = partition is None or keys == (SINGLE,) or partition in keys or f"{parent}@^" in recorded
        if touched:
            return f"{parent} is made anew"
    for name in node.external:
        if name not in recorded:
            return f"{name} is new"
    return None
