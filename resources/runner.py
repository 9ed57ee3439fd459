"""The one module through which the commands talk to Dagster: what is stale, and one run that makes it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from churn_platform.errors import ChurnError, ConfigurationError, NotReadyError
from churn_platform.outlets.published import NAME as PUBLISHED
from churn_platform.outlets.published import default_folder
from churn_platform.records.database import mlflow_tables_exist
from churn_platform.records.home import Home
from churn_platform.records.provenance import Node, Plan, digest_of, make_plan
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.sources.location import SourceLocation
from churn_platform.sources.mutable import SnapshotLog, mutable_digests, usable_since
from resources import orphans, progress
from resources.bento import bento_exists
from resources.feast import history_input
from resources.lineage import asset_name, contract_input
from resources.selection import months_input, months_to_choose_on

OBSERVATIONS = "observations"
JOB = "everything"
LOCATION = "churn"


class RunFailedError(ChurnError):
    """A step of the run failed; the message is that of its cause."""

    code, title = "run-failed", "A step of the run failed"


@dataclass
class RunOutcome:
    """What a run has made. ``seconds`` by asset."""

    run_id: str | None = None
    materialized: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def instance() -> Iterator[dg.DagsterInstance]:
    """The Dagster instance below CHURN_HOME (``DAGSTER_HOME`` must be set: see records.environ)."""
    if "DAGSTER_HOME" not in os.environ:
        raise RuntimeError("enter the home before Dagster is used: churn_platform.cli.environment.enter_home()")
    with dg.DagsterInstance.get() as found:
        yield found


def definitions() -> dg.Definitions:
    """The Definitions for the source that the home holds now."""
    from churn_platform.definitions import build_defs

    return build_defs()


def training_config(home: Home, *, budget: str | None, seed: int | None) -> dict[str, dict[str, Any]]:
    """Configuration by asset: what was asked for, else what the home's challenger was made with, else defaults."""
    from assets.training import ChallengerConfig

    before = (Refs(home.refs).find("challenger") or {}).get("config") or {}
    values = {**ChallengerConfig().model_dump(), **before}
    values |= {k: v for k, v in {"budget": budget, "seed": seed}.items() if v is not None}
    return {"challenger": ChallengerConfig(**values).model_dump()}


def config_digests(config: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The digests by which the plan and the assets recognise a configuration."""
    return {f"config:{asset}": digest_of(dict(values)) for asset, values in config.items()}


def set_observations(found: dg.DagsterInstance, home: Home, observations: Sequence[str]) -> None:
    """Let the observation dates of the calendar be the partitions, and no others, in order.

    Dagster keeps the order of insertion, and a range over keys that are out of order is empty. References of dates
    that are no more are forgotten (their artifacts stay in the store): nothing may be learned or served from them.
    """
    present = list(found.get_dynamic_partitions(OBSERVATIONS))
    if present != list(observations):
        for key in present:
            found.delete_dynamic_partition(OBSERVATIONS, key)
        found.add_dynamic_partitions(OBSERVATIONS, list(observations))
    refs = Refs(home.refs)
    for asset in refs.assets():
        if asset.startswith("snapshots/"):
            continue  # what mutable tables were on the days that they were loaded: history, not observation dates
        for key in refs.partitions(asset):
            if key not in observations:
                refs.drop(asset, key)


def nodes(
    defs: dg.Definitions,
    observations: Sequence[str],
    location: SourceLocation,
    config: Mapping[str, str],
    refs: Refs,
) -> list[Node]:
    """The asset graph as the plan needs it, in topological order."""
    result = []
    for key, node in _asset_nodes(defs):
        if not node.is_materializable:
            continue
        name = asset_name(key)
        external = {k: v for k, v in config.items() if k == f"config:{name}"} | contract_input(location)
        if name.startswith("sources/"):
            table = name.removeprefix("sources/")
            external[f"source:{table}"] = location.fingerprint(table)
        if name == "online_features":
            external |= history_input()
        if name == "candidate_features":
            external |= months_input(months_to_choose_on(refs, location.contract))
        if name in ("customer_features", "candidate_features"):
            external |= mutable_digests(usable_since(location.contract, SnapshotLog(refs), observations))
        result.append(
            Node(
                asset=name,
                code_version=node.code_version or "0",
                partitions=tuple(observations) if node.partitions_def is not None else (),
                parents=tuple(asset_name(parent) for parent in node.parent_keys),
                external=external,
            )
        )
    return result


def plan(
    home: Home,
    defs: dg.Definitions,
    observations: Sequence[str],
    location: SourceLocation,
    config: Mapping[str, str],
    *,
    again: Sequence[str] = (),
    among: Collection[str] | None = None,
) -> Plan:
    """What is missing or stale in this home, and what is asked for ``again``.

    Args:
        among: assets to look at; None is all.

    Raises:
        ConfigurationError: where there is no asset of such a name.
    """
    refs = Refs(home.refs)
    graph = nodes(defs, observations, location, config, refs)
    names = {node.asset for node in graph}
    for name in again:
        if name not in names:
            raise ConfigurationError(
                f"There is no asset {name!r}.", mend=f"Choose of {', '.join(sorted(names))}.", field=name
            )
    chosen = [node for node in graph if among is None or node.asset in among]
    return make_plan(chosen, refs, again=again, lost=_lost(home))


def _lost(home: Home) -> Callable[[str, Mapping[str, object]], str | None]:
    """Where what a reference points at is not there any more."""
    store = ContentStore(home.store)

    def lost(asset: str, ref: Mapping[str, object]) -> str | None:
        if not store.has(str(ref["digest"])):
            return "its artifact is gone"
        if asset == "feature_selection" and not store.has(str(ref.get("verdicts"))):
            return "its artifact is gone"
        if asset == "champion" and not mlflow_tables_exist(home):
            return "the model registry is gone"
        if asset == "champion" and not (home.champion / "pointer.json").is_file():
            return "the champion's files are gone"
        if asset == "online_features" and not _is_online(home):
            return "the online store is gone"
        if asset == "scores_outlet" and not (default_folder(home) / PUBLISHED).is_file():
            return "the published list is gone"
        if asset == "champion_bento" and not bento_exists(home, str(ref.get("tag"))):
            return "the bento is gone"
        return None

    return lost


def _is_online(home: Home) -> bool:
    from churn_platform.features.packed.opening import open_store

    try:
        return bool(open_store(home).generation().views)
    except NotReadyError:
        return False


def range_tags(work: Plan) -> dict[str, str]:
    """The tags by which Dagster makes a range of partitions in one run."""
    if work.partition_range is None:
        return {}
    first, last = work.partition_range
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def run(
    found: dg.DagsterInstance,
    defs: dg.Definitions,
    work: Plan,
    *,
    op_config: Mapping[str, Mapping[str, Any]] | None = None,
    listener: progress.Listener | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunOutcome:
    """Make what the plan says in one in-process run of the job ``everything``, in the instance given.

    Raises:
        ChurnError: the error of the step that failed, as it was raised.
        RunFailedError: where a step failed in another way, or ended well and left its asset as it was.
    """
    outcome = RunOutcome()
    if not work.assets:
        return outcome
    started: dict[str, float] = {}
    open_assets: set[str] = set()

    def hear(event: progress.Event, asset: str, text: str, share: float | None) -> None:
        if event == "begin":
            started[asset] = time.perf_counter()
            open_assets.add(asset)
        if event in ("end", "fail"):
            open_assets.discard(asset)
        if event == "end":
            outcome.seconds[asset] = round(time.perf_counter() - started[asset], 3)
            outcome.materialized.append(asset)
        if listener is not None:
            listener(event, asset, text, share)

    all_tags = {".dagster/repository": f"__repository__@{LOCATION}", **orphans.mine(), **range_tags(work)} | dict(
        tags or {}
    )
    ops = {name: {"config": dict(values)} for name, values in (op_config or {}).items() if name in work.assets}
    with progress.listen(hear), warnings.catch_warnings():
        # Dagster calls its own beta parameters; what it warns of is nothing that the reader could mend.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        result = defs.resolve_job_def(JOB).execute_in_process(
            instance=found,
            asset_selection=[dg.AssetKey(name.split("/")) for name in work.assets],
            tags=all_tags,
            run_config={"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    outcome.run_id = result.run_id
    # A check that failed and stops nothing leaves its asset as it was, too: planned anew, it would fail anew.
    unmade = [asset for asset in work.assets if asset not in outcome.materialized]
    if not result.success or unmade:
        for asset in sorted(open_assets):
            hear("fail", asset, "", None)
        raise _cause(result, unmade)
    return outcome


# Whether what lies below them needs to be made is known only after these groups are up to date. The tables themselves
# stand before the rest of their group, the rules between them.
TABLES = "tables"
_PEOPLE = frozenset({TABLES, "sources", "customers"})
BARRIERS = (frozenset({TABLES}), _PEOPLE, _PEOPLE | {"selection"}, _PEOPLE | {"selection", "features"})
MOST_RUNS = 40


def next_run(work: Plan, groups: Mapping[str, str]) -> Plan | None:
    """The part of a plan to make first: tables, then customers and labels, the choice of
    features, features, and the rest; None where there is nothing.

    Made and planned anew until nothing is left, it makes nothing in vain: what has come out as it was stops there.

    Args:
        groups: asset → its group, see :func:`groups_of`.
    """
    if not work.assets:
        return None
    if all(reason == "never made" for reason in work.reasons.values()):
        return work.runs()[0]
    for barrier in BARRIERS:
        part = work.only([asset for asset in work.assets if groups[asset] in barrier])
        if part.assets:
            return part.runs()[0]
    return work.runs()[0]


def groups_of(defs: dg.Definitions) -> dict[str, str]:
    """Asset → its group; those without inputs are ``tables``."""
    return {asset_name(key): str(node.group_name) if node.parent_keys else TABLES for key, node in _asset_nodes(defs)}


def waves(
    found: dg.DagsterInstance,
    defs: dg.Definitions,
    planned: Callable[[], Plan],
    *,
    op_config: Mapping[str, Mapping[str, Any]] | None = None,
    listener: progress.Listener | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunOutcome:
    """Make what is stale, in as few runs as do nothing in vain (:func:`next_run`).

    Args:
        planned: makes the plan anew, from the references as they are then.
        tags: more tags of the runs, such as what they are for.

    Raises: what :func:`run` raises.
        RunFailedError: where the plan does not come to an end.
    """
    outcome = RunOutcome()
    groups = groups_of(defs)
    for _ in range(MOST_RUNS):
        part = next_run(planned(), groups)
        if part is None:
            return outcome
        made = run(found, defs, part, op_config=op_config, listener=listener, tags=tags)
        outcome.run_id = made.run_id or outcome.run_id
        outcome.materialized += [asset for asset in made.materialized if asset not in outcome.materialized]
        for asset, seconds in made.seconds.items():
            outcome.seconds[asset] = round(outcome.seconds.get(asset, 0.0) + seconds, 3)
    raise RunFailedError(
        f"After {MOST_RUNS} runs these are still stale: {', '.join(planned().assets)}.",
        mend="Something changes while it is read: look at the inputs of the newest runs in the Dagster UI.",
    )


def _asset_nodes(defs: dg.Definitions) -> list[tuple[dg.AssetKey, Any]]:
    graph = defs.resolve_asset_graph()
    return [(key, graph.get(key)) for key in graph.toposorted_asset_keys]


def _cause(result: dg.ExecuteInProcessResult, unmade: Sequence[str]) -> ChurnError:
    """The first failed step's error. Ours keeps its own words, also where a check that failed with it says the same in
    figures; another one is named with its step."""
    failed: RunFailedError | None = None
    of_check = ""
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if failed is None and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
                facts = ", ".join(f"{name} {value.value}" for name, value in check.metadata.items())
                of_check = asset_name(check.asset_key)
                failed = RunFailedError(
                    f"The check {check.check_name} of {asset_name(check.asset_key)} failed: {facts}.",
                    mend=f"The asset's page in the Dagster UI has the details, run {result.run_id}.",
                )
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            text = error.message.strip() if error is not None else "no message"
            name, _, words = text.partition(": ")
            if name.rsplit(".", 1)[-1] in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
                raise KeyboardInterrupt
            ours = name.rsplit(".", 1)[-1].endswith("Error") and name.startswith("churn_platform.")
            asset = (event.step_key or "?").replace("__", "/")
            if failed is not None and not (ours and asset == of_check):
                return failed
            return RunFailedError(
                f"The asset {asset} failed: {words if ours else text}.".replace("..", "."),
                mend="" if ours else f"The whole trace is in the Dagster UI, run {result.run_id}.",
            )
    told = f"The run ended well and did not make {', '.join(unmade)}." if result.success else ""
    return failed or RunFailedError(
        told or "The run failed before its first step.", mend=f"See run {result.run_id} in the UI."
    )
