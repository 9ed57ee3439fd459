"""Runs that are said to be running by a process that was killed: they would stand in the way of all that come after."""

import os

import dagster as dg

from churn_platform.records.alive import token_is_alive, token_of

BY_PROCESS = "churn/process"
"""Tag of a run that a command executes in its own process: ``<pid>-<start in ms>``."""
BY_WORKER = "churn/worker"
"""Tag of a run that the daemon's worker executes: ``<run id>/<pid>-<start in ms>``. The tags of a run that was cut off
are those of the run that tries it again: the id says whose they are."""
RUNNING = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
NOT_STARTED = dg.DagsterRunStatus.NOT_STARTED


def mine() -> dict[str, str]:
    """The tags of a run that this process executes. The daemon never tries it again: who asked for it makes what is
    missing."""
    return {BY_PROCESS: token_of(os.getpid()), "dagster/max_retries": "0"}


def mark(found: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Write into a run which process executes it, this one, unless a command has done so when it asked for it."""
    if BY_PROCESS not in run.tags:
        found.add_run_tags(run.run_id, {BY_WORKER: f"{run.run_id}/{token_of(os.getpid())}"})


def at_work(found: dg.DagsterInstance) -> dg.DagsterRun | None:
    """A run of the daemon that is making assets now: its worker lives, and has begun its first step."""
    for run in found.get_runs(dg.RunsFilter(statuses=list(RUNNING))):
        owner, _, token = run.tags.get(BY_WORKER, "").partition("/")
        if BY_PROCESS not in run.tags and owner == run.run_id and token_is_alive(token):
            return run
    return None


def end_orphans(found: dg.DagsterInstance, *, daemon_is_down: bool) -> list[str]:
    """Close the runs whose process is gone; returns their ids.

    A run of a command is cancelled: whoever runs the command again makes what is missing. A run of the daemon has
    failed, and as it was no step that failed it is tried again (``run_retries`` in dagster.yaml).

    Args:
        daemon_is_down: whether no daemon of this instance is running: then its runs are not, either.
    """
    left = orphans(found, daemon_is_down=daemon_is_down)
    for run in left:
        if BY_PROCESS in run.tags:
            found.report_run_canceled(run, message="The command that executed this run was killed.")
        else:
            found.report_run_failed(run, message="The process of the daemon that executed this run was killed.")
    return [run.run_id for run in left]


def orphans(found: dg.DagsterInstance, *, daemon_is_down: bool) -> list[dg.DagsterRun]:
    """The runs whose process is gone. One that a command has not begun is one, too; one that the daemon has not begun
    waits for the next daemon."""

    def is_orphan(run: dg.DagsterRun) -> bool:
        token = run.tags.get(BY_PROCESS)
        owner, _, worker = run.tags.get(BY_WORKER, "").partition("/")
        if token is None and owner == run.run_id:
            token = worker
        if token is not None:
            return not token_is_alive(token)
        return daemon_is_down and run.status != NOT_STARTED

    return [run for run in found.get_runs(dg.RunsFilter(statuses=[NOT_STARTED, *RUNNING])) if is_orphan(run)]
