"""Observation months as partitions, and what all assets share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_platform.records.code import code_digest
from churn_platform.sources.tables import TableVersion

if TYPE_CHECKING:
    from resources.lineage import Step
    from resources.store import StoreResource

OBSERVATIONS = dg.DynamicPartitionsDefinition(name="observations")
"""Months exist because the data has them, not because the wall clock does; a flat file has the one key ``snapshot``."""

NEWEST = dg.LastPartitionMapping()
EVERY = dg.AllPartitionMapping()
SAME = dg.IdentityPartitionMapping()


def monthly() -> dict[str, Any]:
    """Arguments of an asset with observation months: a range of them is made in one run."""
    return {"partitions_def": OBSERVATIONS, "backfill_policy": dg.BackfillPolicy.single_run()}


def version_of(*places: str, but: tuple[str, ...] = ()) -> str:
    """The ``code_version`` of an asset: a digest of the domain code that makes it."""
    return code_digest(*places, but=but)


def must_hold(asset: dg.AssetKey | str, name: str, description: str | None = None) -> dg.AssetCheckSpec:
    """A check that stops everything downstream when it fails; its result must not be a warning."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=True)


def check(name: str, passed: bool, metadata: dict[str, Any], *, warn: bool = False) -> dg.AssetCheckResult:
    """The result of an inline check; one that only warns does not stop what follows."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def table_versions(
    step: Step, store: StoreResource, tables: Sequence[str], months: Sequence[str], *, each: bool = True
) -> dict[str, dict[str, TableVersion]]:
    """What was known of each table by each month, recorded as read: by each month's own partition, or by all."""
    return {
        month: {
            table: TableVersion.from_json(
                store.objects.read_json(step.read(f"sources/{table}", month, into=month if each else None)["digest"])
            )
            for table in tables
        }
        for month in months
    }
