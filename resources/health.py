"""What the Dagster instance of a home says about itself, for ``churn doctor``: plain values, no judgement."""

import time
from dataclasses import dataclass

import dagster as dg

from resources.orphans import orphans


@dataclass(frozen=True)
class Heartbeat:
    """When a part of the daemon last said that it is alive.

    Attributes:
        age: seconds; None where it never has.
        error: its last one; empty where there is none.
    """

    name: str
    age: float | None
    error: str


def behind(found: dg.DagsterInstance) -> dict[str, tuple[str, str]]:
    """Storages whose tables are not at the newest revision: name → (there, newest)."""
    storages = {"runs": found.run_storage, "events": found.event_log_storage, "schedules": found.schedule_storage}
    late = {}
    for name, storage in storages.items():
        version = storage.alembic_version() if storage is not None else None
        if version is not None and version[0] != version[1]:
            late[name] = (str(version[0]), str(version[1]))
    return late


def heartbeats(found: dg.DagsterInstance) -> list[Heartbeat]:
    """One for each part that this instance needs."""
    heard, now = found.get_daemon_heartbeats(), time.time()
    told = []
    for name in found.get_required_daemon_types():
        beat = heard.get(name)
        errors = (beat.errors or []) if beat is not None else []
        first = errors[0].message.strip().splitlines()[0] if errors else ""
        told.append(Heartbeat(name, None if beat is None else now - beat.timestamp, first))
    return told


def failing(found: dg.DagsterInstance) -> dict[str, str]:
    """Sensors and schedules whose last look has failed: name → the words of the error."""
    told = {}
    for state in found.all_instigator_state():
        ticks = found.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if ticks and ticks[0].status.value == "FAILURE":
            error = ticks[0].error
            while error is not None and error.cause is not None:
                error = error.cause
            told[state.instigator_name] = error.message.strip().splitlines()[0] if error is not None else "no message"
    return told


def looks(found: dg.DagsterInstance) -> dict[str, float | None]:
    """Sensors that are on: name → seconds since the last look; None where there was none."""
    from dagster._core.definitions.run_request import InstigatorType

    told: dict[str, float | None] = {}
    for state in found.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.is_running:
            ticks = found.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
            told[state.instigator_name] = time.time() - ticks[0].timestamp if ticks else None
    return told


def stuck(found: dg.DagsterInstance, *, daemon_is_down: bool) -> list[str]:
    """Runs that are said to be running by a process that is gone (:mod:`resources.orphans`)."""
    return [run.run_id for run in orphans(found, daemon_is_down=daemon_is_down)]
