"""Between the pure rules of response and Dagster: what was reported since, what is asked for, what is remembered."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg

from churn_platform.monitoring.alerts import raise_alert
from churn_platform.monitoring.response import Answer, due_by_age, respond
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.settings import settings
from resources.carry import Asked, Nothing, next_step, recalibration, training, why_not_now
from resources.orphans import BY_PROCESS

PAGE = 200
REMEMBERED = 500


def answer_reports(found: dg.DagsterInstance, home: Home, cursor: str | None) -> Any:
    """Answer the diagnoses since ``cursor``, once the flow of data has come to rest."""
    start: dict[str, Any] = {"after": 0, "answered": [], "last_training": None}
    memory = start | (json.loads(cursor) if cursor else {})
    if (busy := why_not_now(found, home)) is not None:
        return dg.SkipReason(busy)
    months, after = _reported(found, int(memory["after"]))
    if not months:
        return dg.SkipReason("no new diagnosis")
    if isinstance(next_step(found, home), Asked):
        return dg.SkipReason("the flow of data has not come to rest: its last diagnosis is still to come")
    refs, store = Refs(home.refs), ContentStore(home.store)
    reports = [ref for month in months if (ref := refs.find("diagnosis", month)) is not None]
    diagnoses = [store.read_json(str(ref["digest"])) for ref in reports]
    digests = {one["month"]: str(ref["digest"]) for one, ref in zip(diagnoses, reports, strict=True)}
    # What lies behind the months that the champion was judged on has been answered by that judgement.
    champion = refs.find("champion")
    judged = _known_months(store, champion)
    fresh = [one for one in diagnoses if not judged or one["month"] > max(judged)]
    asked = []
    for answer in respond(fresh, memory["answered"], memory["last_training"]):
        memory["answered"] = [*memory["answered"], answer.key][-REMEMBERED:]
        if answer.action == "alert":
            raise_alert(
                home,
                key=answer.key,
                kind="data_fault",
                severity="page",
                title=f"The feed {answer.subject} has dried up",
                detail=f"{answer.reason} Nothing is learned from {answer.month}, and predictions are marked as "
                "degraded. Bring the missing rows; the platform then carries them on by itself.",
                month=answer.month,
                feed=answer.subject,
            )
            continue
        if answer.action == "retrain":
            memory["last_training"] = answer.month
        asked.append(_asked(home, answer, digests[answer.month]))
    memory["after"] = after
    # One at a time: what was learned first may have answered the rest.
    return dg.SensorResult(run_requests=[one.request() for one in asked[-1:]], cursor=json.dumps(memory))


def training_by_age(found: dg.DagsterInstance, home: Home) -> Any:
    """Ask for a training where enough months have matured that the champion has not seen."""
    if (busy := why_not_now(found, home)) is not None:
        return dg.SkipReason(busy)
    refs, store = Refs(home.refs), ContentStore(home.store)
    champion = refs.find("champion")
    if champion is None:
        return dg.SkipReason("there is no champion yet")
    if isinstance(next_step(found, home), Asked):
        return dg.SkipReason("the flow of data has not come to rest")
    newest = refs.partitions("diagnosis")[-1:]
    if newest and (refs.find("diagnosis", newest[0]) or {}).get("kind") == "data_fault":
        return dg.SkipReason("nothing is learned while a feed is missing")
    mature = [m for m in refs.partitions("churn_labels") if (refs.find("churn_labels", m) or {}).get("mature")]
    why = due_by_age(_known_months(store, refs.find("challenger")), mature, settings().retrain_after_months)
    if why is None:
        return dg.SkipReason("the champion has seen enough of what is known")
    tags = {"churn/reason": why, "churn/month": mature[-1]}
    return training(home, key=f"age:{mature[-1]}", tags=tags).request()


def failure_alert(context: dg.RunFailureSensorContext, home: Home) -> None:
    """Raise an alert for a failed run, unless it was cut off and is tried again by itself."""
    tags = context.dagster_run.tags
    cut_off = BY_PROCESS in tags and tags.get("dagster/failure_reason") == "UNEXPECTED_TERMINATION"
    if cut_off or tags.get("dagster/will_retry") == "true":
        return
    steps = [event for event in context.get_step_failure_events() if event.step_failure_data.error is not None]
    told = context.failure_event.message or "it failed"
    where = "its start"
    if steps:
        error = steps[0].step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        told = (error.message if error is not None else told).strip()
        where = (steps[0].step_key or "?").replace("__", "/")
    run = context.dagster_run
    if "churn/carried_by" in run.tags:
        return  # the run that it is a part of has failed with it, and is told
    raise_alert(
        home,
        key=f"run_failed:{run.run_id}",
        kind="run_failed",
        severity="page",
        title=f"A run failed at {where}",
        detail=f"{told.splitlines()[0][:500]} (run {run.run_id}: its page in the Dagster UI has the whole trace)",
        month=run.tags.get("churn/month"),
    )


def _reported(found: dg.DagsterInstance, after: int) -> tuple[list[str], int]:
    """The months with a diagnosis since a storage id, and the newest id."""
    months: dict[str, None] = {}
    while True:
        page = found.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("diagnosis"), after_storage_id=after),
            limit=PAGE,
            ascending=True,
        ).records
        for record in page:
            after = max(after, record.storage_id)
            if record.partition_key is not None:
                months[record.partition_key] = None
        if len(page) < PAGE:
            return sorted(months), after


def _known_months(store: ContentStore, ref: Any) -> list[str]:
    """The months that a challenger was made from: learned, kept apart, and judged on."""
    if ref is None:
        return []
    split = store.read_json(str(ref.get("challenger") or ref["digest"]))["split"]
    return [*split["train"], *split["embargoed"], *split["holdout"]]


def _asked(home: Home, answer: Answer, report: str) -> Asked:
    tags = {"churn/reason": answer.reason, "churn/month": answer.month, "churn/report": report}
    if answer.action == "recalibrate":
        return recalibration(answer.subject, key=answer.key, tags=tags)
    return training(home, key=answer.key, tags=tags)


__all__ = ["Nothing", "answer_reports", "failure_alert", "training_by_age"]
