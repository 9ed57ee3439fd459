"""Reads and writes of an asset, recorded: each partition knows the digest of all that it was made from.

Dagster's own provenance tags name only the newest event of any partition and are left out for many partitions, so
every read is recorded here as well, with its partition and digest, in the reference and in the event's metadata.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from churn_platform import clock
from churn_platform.errors import ConfigurationError
from churn_platform.records.history import remember
from churn_platform.records.home import Home
from churn_platform.records.lock import exclusive
from churn_platform.records.provenance import digest_of, newest_digest, resolve
from churn_platform.records.refs import Refs
from churn_platform.sources.location import SourceLocation
from resources import orphans, progress
from resources.store import StoreResource

DATA_VERSION_TAG = "dagster/data_version"
USER_PROVIDED_TAG = "dagster/data_version_is_user_provided"
CODE_VERSION_TAG = "dagster/code_version"
LOCK, LONGEST_WAIT = "pipeline.lock", 3600.0


def asset_name(key: dg.AssetKey) -> str:
    """The name of an asset in the references: its key's parts, joined by ``/``."""
    return "/".join(key.path)


def contract_input(location: SourceLocation) -> dict[str, str]:
    """The contract as an input of every asset: the meaning of labels and columns is in it."""
    return {f"contract:{location.contract.problem}": digest_of(location.contract_text)}


def cause_of(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Why a sensor has asked for this run: its tags ``churn/reason``, ``churn/month``, ``churn/report`` …, or none."""
    return {name: value for name, value in context.run.tags.items() if name.startswith("churn/")}


class Step:
    """What one run of one asset reads and writes. Made by :meth:`LineageResource.step`.

    ``partition`` is the partition being made ("into"), or None for an asset without partitions.
    """

    def __init__(self, context: dg.AssetExecutionContext, home: Home, external: Mapping[str, str]) -> None:
        self._context, self._home, self._refs = context, home, Refs(home.refs)
        self._key = context.asset_key
        self._external = dict(external)
        self._inputs: dict[str | None, dict[str, str]] = defaultdict(dict)
        self._written: dict[str | None, dict[str, Any]] = {}
        version = context.assets_def.code_versions_by_key.get(self._key)
        self._code_version = version or "0"
        progress.tell("begin", asset_name(self._key))

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions to make, in order; empty for an asset without partitions."""
        context = self._context
        if not (context.has_partition_key or context.has_partition_key_range):
            return ()
        keys = tuple(sorted(context.partition_keys))
        if not keys:
            raise ConfigurationError(
                f"The run asks {asset_name(self._key)} for no partition at all.",
                mend="Choose observation months that exist; `churn materialize` does so by itself.",
            )
        return keys

    def progress(self, text: str, share: float | None = None) -> None:
        """Say how far this step is; ``share`` in [0, 1]."""
        progress.tell("update", asset_name(self._key), text, share)

    def read(self, asset: str, partition: str | None = None, *, into: str | None = None) -> dict[str, Any]:
        """The reference of an input, recorded as an input of ``into``."""
        ref = self._refs.get(asset, partition)
        self._inputs[into][f"{asset}@{partition}" if partition else asset] = ref["digest"]
        return ref

    def read_newest(self, asset: str, *, into: str | None = None) -> tuple[str, dict[str, Any]]:
        """The newest partition of an input and its reference."""
        partitions = self._refs.partitions(asset)
        newest = partitions[-1] if partitions else None
        ref = self._refs.get(asset, newest)
        self._inputs[into][f"{asset}@^"] = newest_digest(newest, ref)
        return str(newest), ref

    def read_all(self, asset: str, *, into: str | None = None) -> dict[str, dict[str, Any]]:
        """All partitions of an input and their references."""
        refs = {partition: self._refs.get(asset, partition) for partition in self._refs.partitions(asset)}
        if not refs:
            self._refs.get(asset)
        digest = resolve(self._refs, f"{asset}@*", {})
        self._inputs[into][f"{asset}@*"] = str(digest)
        return refs

    def external(self, name: str, digest: str) -> None:
        """Record an input from outside the graph (``config:…``, ``source:…``) for all that is written."""
        self._external[name] = digest

    def write(self, digest: str, *, into: str | None = None, **facts: Any) -> None:
        """Point the asset (or its partition) at an artifact, once the step has ended well (see :meth:`result`).

        ``facts`` are kept in the reference, as JSON.
        """
        inputs = {**self._external, **self._inputs.get(into, {})}
        record = {
            "schema": "reference/1",
            "digest": digest,
            "code_version": self._code_version,
            "inputs": inputs,
            "run_id": self._context.run.run_id,
            "made_at": clock.wall().isoformat(),
            **({"cause": cause} if (cause := cause_of(self._context)) else {}),
            **facts,
        }
        self._written[into] = record

    def result(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        per_partition: Mapping[str, Mapping[str, Any]] | None = None,
        checks: Sequence[dg.AssetCheckResult] = (),
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetMaterialization]:
        """The events of this step: one result, then, for a range of partitions, one exact event for each.

        The result's event carries one data version for the whole range (Dagster has no other way); the events that
        follow give each partition its own, and are the newest, so that Dagster's staleness reads them.
        The references are set last, after the events, and not at all where a check of severity ERROR has failed: what
        is half-done is made again.
        """
        if None in self._written:
            version, shown = self._written[None]["digest"], self._shown(None)
        elif len(self._written) == 1:
            (only,) = self._written
            version, shown = self._written[only]["digest"], self._shown(only)
            shown = dict((per_partition or {}).get(str(only), {})) | shown
        else:
            version = digest_of({str(k): v["digest"] for k, v in self._written.items()})
            shown = {"partitions": len(self._written)}
        yield dg.MaterializeResult(
            asset_key=self._key,
            metadata={**(metadata or {}), **shown},  # what people look for stands first
            data_version=dg.DataVersion(version),
            check_results=list(checks),
        )
        if len(self._written) > 1:
            common = metadata or {}
            for partition in sorted(str(key) for key in self._written):
                extra = (per_partition or {}).get(partition, {})
                yield dg.AssetMaterialization(
                    asset_key=self._key,
                    partition=partition,
                    metadata={**extra, **common, **self._shown(partition)},
                    tags={
                        DATA_VERSION_TAG: self._written[partition]["digest"],
                        USER_PROVIDED_TAG: "true",
                        CODE_VERSION_TAG: self._code_version,
                    },
                )
        broken = [c for c in checks if not c.passed and c.severity == dg.AssetCheckSeverity.ERROR]
        if not broken:
            remember(self._home, asset_name(self._key), self._written)
            for into, record in self._written.items():
                self._refs.set(asset_name(self._key), into, record)
            progress.tell("end", asset_name(self._key))

    def _shown(self, into: str | None) -> dict[str, Any]:
        record = self._written[into]
        shown: dict[str, Any] = {
            "digest": record["digest"],
            "inputs": dg.MetadataValue.json(record["inputs"]),
        }
        if isinstance(record.get("rows"), int):
            shown["dagster/row_count"] = record["rows"]
        return shown


class LineageResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Makes the :class:`Step` of an asset."""

    store: dg.ResourceDependency[StoreResource]

    def step(self, context: dg.AssetExecutionContext, external: Mapping[str, str] | None = None) -> Step:
        """A step whose contract is recorded with everything else from outside the graph."""
        orphans.mark(context.instance, context.run)
        if orphans.BY_PROCESS not in context.run.tags:
            # A command at work goes first; none begins while this run, which is marked by now, is at work.
            with exclusive(self.store.home.run / LOCK, "begin a step", wait=LONGEST_WAIT):
                pass
        return Step(context, self.store.home, {**contract_input(self.store.location), **(external or {})})
