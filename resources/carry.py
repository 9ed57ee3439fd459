"""What the sensors ask for: the next step of carrying new data on, and trainings that a diagnosis calls for.

The flow of data is carried by the same plan that ``churn materialize`` works off: a sensor looks at what is stale (by
content, code and contract), asks for the first part, and looks again when that run has ended. It is driven by the
state that it finds and not by events: a month delivered twice, two at once or out of order, or a crash in between, lead
to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from churn_platform import clock
from churn_platform.errors import BusyError, SourceError
from churn_platform.monitoring.alerts import Alert, raise_alert, resolve
from churn_platform.records.home import Home
from churn_platform.records.leftovers import sweep_home
from churn_platform.records.lock import exclusive, is_held
from churn_platform.records.provenance import Plan, digest_of
from churn_platform.records.refs import Refs
from churn_platform.settings import settings
from churn_platform.sources import present
from churn_platform.sources.calendar import Calendar, observe_dates
from churn_platform.sources.location import SourceLocation, find_location, load_location
from churn_platform.sources.refresh import refresh
from churn_platform.sources.settling import still_arriving
from resources import orphans, runner

LOCK = "pipeline.lock"
FLOW = frozenset({runner.TABLES, "sources", "customers", "selection", "features", "monitoring"})
FLOWING = frozenset({"scores_current", "scores_outlet"})
"""Groups and assets that follow the data by themselves. Learning is asked for, never carried; the choice of generated
features is made anew where the history has reached its next step, and what the champion reads is made all the same."""
NIGHTLY = frozenset({"feature_skew"})
"""What is looked after each night, by a schedule: a difference between what is served and history is told then, and
stops no month."""
TRAINING = ("training_set", "challenger", "evaluation", "gate", "champion", "champion_bento")
RECALIBRATION = ("recalibration", "champion", "champion_bento")
UNDER_WAY = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class Asked:
    """A run that a sensor asks for.

    Attributes:
        key: the same question has the same key, so that it is asked once. Where a run has failed, it is asked again in
            another hour, or when anything has changed.
        assets: names; none for a job without assets of its own.
    """

    key: str
    assets: tuple[str, ...]
    tags: Mapping[str, str]
    run_config: Mapping[str, Any]

    def request(self) -> dg.RunRequest:
        return dg.RunRequest(
            run_key=self.key,
            asset_selection=[dg.AssetKey(name.split("/")) for name in self.assets] or None,
            tags=dict(self.tags),
            run_config=dict(self.run_config),
        )


@dataclass(frozen=True)
class Nothing:
    """Why there is nothing to ask for."""

    why: str


class AtRest(Nothing):
    """Everything is up to date."""


def why_not_now(found: dg.DagsterInstance, home: Home) -> str | None:
    """Why no run may be asked for now: another one, or a command, is changing this home.

    Runs whose process was killed are closed first: they would stand in the way of all others for ever.
    """
    if is_held(home.run / LOCK):
        return "a command is at work in this home"
    orphans.end_orphans(found, daemon_is_down=False)
    under_way = found.get_runs(dg.RunsFilter(statuses=list(UNDER_WAY)), limit=1)
    return f"run {under_way[0].run_id[:8]} is under way" if under_way else None


def next_step(found: dg.DagsterInstance, home: Home) -> Asked | Nothing:
    """The run that carries the data on, where its flow is stale: new and changed tables to features, labels,
    scores, drift, diagnosis and the business report. :func:`carry` is what it does."""
    flow = _look_now(found, home)
    if isinstance(flow, Nothing):
        return flow
    work = flow.plan()
    if not work.assets:
        resolve(home, partial(_is_over, Refs(home.refs)))
        return AtRest("everything is up to date")
    if (name := still_arriving(home, flow.location, settings().settle_seconds)) is not None:
        return Nothing(f"a delivery is under way: {name} has just changed")
    question = digest_of([work.stale, work.reasons, flow.location.fingerprints()])
    why = _why(work)
    return Asked(
        key=f"carry-{question[:24]}-{_last_carried(found)}{clock.wall():%Y%m%d%H}",
        assets=(),
        tags={"churn/reason": why, "churn/month": flow.calendar.observations[-1]},
        run_config={},
    )


def _is_over(refs: Refs, alert: Alert) -> bool:
    """Whether what an alert is about has ended well, now that the flow of data is at rest: a source that can be read,
    an asset that was made since."""
    if alert.kind == "source":
        return True
    if alert.kind != "run_failed":
        return False
    asset = alert.key.split(":")[1]
    made = [refs.find(asset), *(refs.find(asset, key) for key in refs.partitions(asset))]
    known = [str(ref["made_at"]) for ref in made if ref is not None]
    return max(known) > alert.raised_at if known else asset in ("carry_on", "its start")


def not_settled(found: dg.DagsterInstance, home: Home) -> str | None:
    """Why no diagnosis may be answered by a run yet: what it, or a training, goes by is stale or cannot be read.

    What is broken elsewhere in the flow is no reason: an alert tells of it, and the month is answered all the same.
    """
    flow = _look_now(found, home)
    if isinstance(flow, Nothing):
        return flow.why
    stale = sorted(set(flow.plan().assets) & flow.behind("diagnosis", "training_set"))
    return f"the flow of data has not come to rest: {', '.join(stale[:5])} is still to be made" if stale else None


def _look_now(found: dg.DagsterInstance, home: Home) -> Flow | Nothing:
    if (busy := why_not_now(found, home)) is not None:
        return Nothing(busy)
    try:
        with exclusive(home.run / LOCK, "look for new data"):
            return _look(found, home)
    except BusyError as error:
        return Nothing(error.message)
    except SourceError as error:
        raise_alert(
            home,
            key=f"source:{digest_of(error.message)[:16]}:{clock.wall():%Y-%m-%d}",
            kind="source",
            severity="page",
            title="The source tables cannot be read",
            detail=f"{error.message} {error.mend}".strip(),
        )
        return Nothing(error.message)


def _last_carried(found: dg.DagsterInstance) -> str:
    """The newest carrying that has ended well: a state that comes back after it is another question."""
    done = found.get_runs(dg.RunsFilter(job_name="carry", statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)
    return f"{done[0].run_id[:8]}-" if done else ""


def carry(found: dg.DagsterInstance, home: Home, tags: Mapping[str, str]) -> runner.RunOutcome:
    """Bring the flow of data up to date, as ``churn materialize`` does, without learning anything.

    Args:
        tags: of the runs that are made.

    Raises:
        BusyError: a command is at work in this home, and does not end within an hour.
        RunFailedError: a step failed.
    """
    with exclusive(home.run / LOCK, "carry new data on", wait=3600.0):
        sweep_home(home)
        flow = _look(found, home)
        if isinstance(flow, Nothing):
            return runner.RunOutcome()
        return runner.waves(found, flow.defs, flow.plan, tags=tags)


@dataclass(frozen=True)
class Flow:
    """The flow of data of a home as it is now."""

    home: Home
    defs: dg.Definitions
    location: SourceLocation
    calendar: Calendar

    def plan(self) -> Plan:
        """What is stale in it."""
        groups = runner.groups_of(self.defs)
        flowing = {asset for asset, group in groups.items() if group in FLOW and asset not in NIGHTLY} | FLOWING
        return runner.plan(self.home, self.defs, self.calendar.observations, self.location, {}, among=flowing)

    def behind(self, *assets: str) -> set[str]:
        """These assets and all that they are made from."""
        graph = runner.nodes(self.defs, self.calendar.observations, self.location, {}, Refs(self.home.refs))
        found = set(assets)
        for node in reversed(graph):  # topological: a parent stands before what is made from it
            if node.asset in found:
                found |= set(node.parents)
        return found


def _look(found: dg.DagsterInstance, home: Home) -> Flow | Nothing:
    """Bring source, calendar and partitions to what there is now. Nobody else may change the home meanwhile."""
    problem = settings().problem
    if find_location(home, problem) is None:
        return Nothing("this home has no source yet")
    if Refs(home.refs).find("champion") is None:
        return Nothing("there is no champion yet: run `churn demo` or `churn materialize` once")
    refresh(home, problem)
    location, calendar = bring_calendar(home, problem, load_location(home, problem))
    runner.set_observations(found, home, calendar.observations)
    return Flow(home, runner.definitions(), location, calendar)


def bring_calendar(home: Home, problem: str, location: SourceLocation) -> tuple[SourceLocation, Calendar]:
    """The observation dates of the tables as they are now; the present of the home moves on with them."""
    known = location.calendar
    if known is not None:
        return location, known
    calendar = observe_dates(location.contract, location.path, tmp=home.tmp, before=location.calendar_before)
    present.fix_present(home, problem, location, calendar.as_of)
    present.follow(home, problem)
    location = load_location(home, problem)
    location.keep_calendar(calendar)
    return location, calendar


def training(home: Home, *, key: str, tags: Mapping[str, str]) -> Asked:
    """A run that learns a challenger, judges it, and promotes it if it passes."""
    config = runner.training_config(home, budget=None, seed=None)
    ops = {name: {"config": values} for name, values in config.items()}
    return Asked(key=key, assets=TRAINING, tags=tags, run_config={"ops": ops})


def recalibration(month: str, *, key: str, tags: Mapping[str, str]) -> Asked:
    """A run that sets the champion's probabilities right by the departures after ``month``."""
    ops = {"recalibration": {"config": {"month": month}}}
    return Asked(key=key, assets=RECALIBRATION, tags=tags, run_config={"ops": ops})


def _why(part: Plan) -> str:
    told = list(dict.fromkeys(f"{asset}: {reason}" for asset, reason in part.reasons.items()))
    return "; ".join(told[:3]) + (" …" if len(told) > 3 else "")
