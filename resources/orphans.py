"""Runs that are said to be running by a process that was killed: they would stand in the way of all that come after."""

import os

import dagster as dg

from churn_platform.records.alive import token_is_alive, token_of

BY_PROCESS = "churn/process"
"""Tag of a run that a command executes in its own process: ``<pid>-<start in ms>``."""
RUNNING = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def mine() -> dict[str, str]:
    """The tags of a run that this process executes. The daemon never tries it again: who asked for it makes what is
    missing."""
    return {BY_PROCESS: token_of(os.getpid()), "dagster/max_retries": "0"}


def end_orphans(found: dg.DagsterInstance, *, daemon_is_down: bool) -> list[str]:
    """Close the runs whose process is gone; returns their ids.

    A run of a command is cancelled: whoever runs the command again makes what is missing. A run of the daemon has
    failed, and as it was no step that failed it is tried again (``run_retries`` in dagster.yaml).

    Args:
        daemon_is_down: whether no daemon of this instance is running: then its runs are not, either.
    """
    ended = []
    for run in found.get_runs(dg.RunsFilter(statuses=list(RUNNING))):
        if (token := run.tags.get(BY_PROCESS)) is not None:
            if token_is_alive(token):
                continue
            found.report_run_canceled(run, message="The command that executed this run was killed.")
        elif daemon_is_down:
            found.report_run_failed(run, message="The daemon that executed this run was killed.")
        else:
            continue
        ended.append(run.run_id)
    return ended
