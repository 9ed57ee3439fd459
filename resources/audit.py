"""What Dagster's own records say of the runs and events that led to a model."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg


def run_facts(found: dg.DagsterInstance, run_ids: Iterable[str]) -> list[dict[str, Any]]:
    """When each run was, who asked for it, and where the UI shows it; ``known`` is False for a run that is not in this
    instance (any more)."""
    facts = []
    for run_id in run_ids:
        record = found.get_run_record_by_id(run_id)
        if record is None:
            facts.append({"run_id": run_id, "known": False, "page": f"/runs/{run_id}"})
            continue
        tags = record.dagster_run.tags
        facts.append(
            {
                "run_id": run_id,
                "known": True,
                "page": f"/runs/{run_id}",
                "status": record.dagster_run.status.value.lower(),
                "job": record.dagster_run.job_name,
                "started_at": _time(record.start_time),
                "ended_at": _time(record.end_time),
                "asked_by": tags.get("dagster/sensor_name")
                or tags.get("dagster/schedule_name")
                or "a command or person",
            }
        )
    return facts


def event_of(found: dg.DagsterInstance, asset: str, digest: str, run_id: str | None) -> bool | None:
    """Whether Dagster's event of an asset in a run names the same digest; None where the run is not known any more."""
    if run_id is None or not found.has_run(run_id):
        return None
    key = dg.AssetKey(asset.split("/"))
    for event in found.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        made = event.asset_materialization
        if made is not None and made.asset_key == key and (value := made.metadata.get("digest")) is not None:
            return bool(value.value == digest)
    return False


def _time(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None
