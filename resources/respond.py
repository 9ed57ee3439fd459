"""Between the pure rules of response and Dagster: what was reported since, what is asked for, what is remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import dagster as dg

from churn_platform import clock
from churn_platform.errors import BusyError
from churn_platform.monitoring.alerts import raise_alert, resolve
from churn_platform.monitoring.response import Answer, due_by_age, first_to_run, month_of_run, respond
from churn_platform.records.home import Home
from churn_platform.records.provenance import digest_of
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.settings import settings
from resources.carry import Asked, not_settled, recalibration, training
from resources.orphans import BY_PROCESS

PAGE = 200
REMEMBERED = 500
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RUN_KEY = "dagster/run_key"
MOST_TIMES, AGAIN_AFTER_SECONDS = 3, 3600.0


def answer_reports(found: dg.DagsterInstance, home: Home, cursor: str | None) -> Any:
    """Answer the diagnoses since ``cursor``: alerts at once, runs once what they go by has come to rest.

    The cursor keeps the storage id of the newest diagnosis that was seen, the months that are not answered yet, and the
    keys of the runs that were asked for.
    """
    kept: dict[str, Any] = json.loads(cursor) if cursor else {}
    asked: list[str] = list(kept.get("answered", ()))
    new, after = _reported(found, int(kept.get("after", 0)))
    refs, store = Refs(home.refs), ContentStore(home.store)
    # What lies behind the months that the champion was judged on has been answered by that judgement.
    judged = max(_known_months(store, refs.find("champion")), default="")
    reports = {
        month: str(ref["digest"])
        for month in sorted({*new, *kept.get("open", ())})
        if month > judged and (ref := refs.find("diagnosis", month)) is not None
    }
    diagnoses = [store.read_json(digest) for digest in reports.values()]
    for answer in respond(diagnoses, ()):
        if answer.action == "alert":
            _alert(home, answer)
    if not new and not reports:
        return dg.SkipReason("no new diagnosis")
    if (wait := not_settled(found, home)) is not None:
        return dg.SkipReason(wait)
    if _feed_is_missing(refs):
        return dg.SkipReason("nothing is learned while a feed is missing")
    settled = [key for key in asked if month_of_run(key) not in reports or question(found, key).settled]
    due = [one for one in respond(diagnoses, settled) if one.action != "alert" and not question(found, one.key).settled]
    # One at a time: what was learned first may have answered the rest.
    first = first_to_run(due)
    name = question(found, first.key).name if first is not None else None
    requests = []
    if first is not None and name is not None:
        requests = [_asked(home, first, reports[first.month], name).request()]
        asked = [*(key for key in asked if key != first.key), first.key][-REMEMBERED:]
    memory = {"after": after, "open": sorted({one.month for one in due}), "answered": asked}
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(memory))


def training_by_age(found: dg.DagsterInstance, home: Home) -> Any:
    """Ask for a training where enough months have matured that the champion has not seen."""
    refs, store = Refs(home.refs), ContentStore(home.store)
    if refs.find("champion") is None:
        return dg.SkipReason("there is no champion yet")
    mature = [m for m in refs.partitions("churn_labels") if (refs.find("churn_labels", m) or {}).get("mature")]
    why = due_by_age(_known_months(store, refs.find("challenger")), mature, settings().retrain_after_months)
    if why is None:
        return dg.SkipReason("the champion has seen enough of what is known")
    if (wait := not_settled(found, home)) is not None:
        return dg.SkipReason(wait)
    if _feed_is_missing(refs):
        return dg.SkipReason("nothing is learned while a feed is missing")
    name = question(found, f"age:{mature[-1]}").name
    if name is None:
        return dg.SkipReason(f"a training was asked for after {mature[-1]}: see its run")
    tags = {"churn/reason": why, "churn/month": mature[-1]}
    return training(home, key=name, tags=tags).request()


class Question(NamedTuple):
    """What has become of a run that was to be asked for.

    Attributes:
        name: the run key to ask under now; None where not now.
        settled: whether there is no more to ask: a run of it has not failed, or has failed too often.
    """

    name: str | None
    settled: bool


def question(found: dg.DagsterInstance, key: str) -> Question:
    """A run that has failed is asked for again, as ``key:2`` and ``key:3``, each an hour after the one before."""
    name, ended = key, 0.0
    for number in range(1, MOST_TIMES + 1):
        name = key if number == 1 else f"{key}:{number}"
        # a run that was cut off and is tried again by itself has the same key, and is newer
        runs = found.get_run_records(dg.RunsFilter(tags={RUN_KEY: name}), limit=1)
        if not runs:
            return Question(name if clock.wall().timestamp() >= ended else None, settled=False)
        if runs[0].dagster_run.status != dg.DagsterRunStatus.FAILURE:
            return Question(None, settled=True)
        ended = (runs[0].end_time or runs[0].update_timestamp.timestamp()) + AGAIN_AFTER_SECONDS
    return Question(None, settled=True)


def _feed_is_missing(refs: Refs) -> bool:
    newest = refs.partitions("diagnosis")[-1:]
    return bool(newest) and (refs.find("diagnosis", newest[0]) or {}).get("kind") == "data_fault"


def _alert(home: Home, answer: Answer) -> None:
    columns = ", ".join(f"{answer.subject}.{column}" for column in answer.columns)
    mend = "Correct the rows" if columns else "Bring the missing rows"
    raise_alert(
        home,
        key=answer.key,
        kind="data_fault",
        severity="page",
        title=f"{columns} cannot be trusted" if columns else f"The feed {answer.subject} has dried up",
        detail=f"{answer.reason} Nothing is learned from {answer.month}, and predictions are marked as "
        f"degraded. {mend}; the platform then carries them on by itself.",
        month=answer.month,
        feed=answer.subject,
    )


@contextmanager
def told_if_it_fails(home: Home, sensor: str) -> Iterator[None]:
    """A look that fails says so, once a day for the same words: while it does, the platform stands still. One that does
    not is the end of it."""
    try:
        yield
        resolve(home, lambda alert: alert.key.startswith(f"sensor_failed:{sensor}:"))
    except Exception as error:
        words = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        raise_alert(
            home,
            key=f"sensor_failed:{sensor}:{digest_of(words)[:16]}:{clock.wall():%Y-%m-%d}",
            kind="sensor_failed",
            severity="page",
            title=f"The sensor {sensor} fails",
            detail=f"{words} (its ticks in the Dagster UI have the whole trace). Until then it asks for nothing.",
        )
        raise


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
    if told.split(":")[0].rsplit(".", 1)[-1] == BusyError.__name__:
        return  # nothing is wrong: a command is at work, and the sensors ask again when it has ended
    run = context.dagster_run
    if "churn/carried_by" in run.tags:
        return  # the run that it is a part of has failed with it, and is told
    raise_alert(
        home,
        # a flow that fails every hour for the same reason is told once a day; the ids of runs in the words do not count
        key=f"run_failed:{where}:{digest_of(RUN_ID.sub('', told.splitlines()[0]))[:16]}:{clock.wall():%Y-%m-%d}",
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


def _asked(home: Home, answer: Answer, report: str, name: str) -> Asked:
    tags = {"churn/reason": answer.reason, "churn/month": answer.month, "churn/report": report}
    if answer.action == "recalibrate":
        return recalibration(answer.subject, key=name, tags=tags)
    return training(home, key=name, tags=tags)


__all__ = ["answer_reports", "failure_alert", "training_by_age"]
