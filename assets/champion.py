"""The model that decides: registered, under an alias, with all that led to it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.partitions import check, must_hold, version_of
from churn_platform import clock
from churn_platform.champion.succession import is_judged, successor
from churn_platform.errors import ChampionError
from resources.feast import FeastResource
from resources.lineage import LineageResource
from resources.mlflow import MlflowResource
from resources.store import StoreResource

# What of a promotion is kept in the reference, and carried on while the champion stays.
FACTS = (
    "name", "version", "model", "package", "challenger", "tier", "evaluation", "mlflow_run", "bases", "promoted_at",
    "cause",
)  # fmt: skip


@dg.asset(
    group_name="champion",
    kinds={"mlflow"},
    owners=["team:ml"],
    description="The newest challenger that passed the gate, as a version of the registered model under the alias "
    "champion; or the champion itself, recalibrated. One that did not pass leaves the champion where it is.",
    code_version=version_of("champion", "assets/champion.py"),
    deps=["gate", "challenger", "evaluation", "recalibration"],
    check_specs=[
        must_hold(
            "champion",
            "alias_agrees",
            "The alias champion in the MLflow registry points at the version that this asset says.",
        )
    ],
)
def champion(
    context: dg.AssetExecutionContext,
    lineage: LineageResource,
    store: StoreResource,
    mlflow: MlflowResource,
    feast: FeastResource,
) -> Iterator[Any]:
    """Promote what the gate let through; keep the champion otherwise.

    Raises:
        ChampionError: where nothing passed and there is no champion to keep.
    """
    from churn_platform.champion.projection import project
    from churn_platform.monitoring.evaluation_page import markdown

    step, objects, home = lineage.step(context), store.objects, store.home
    gate, challenger, judged = step.read("gate"), step.read("challenger"), step.read("evaluation")
    shifted = step.read("recalibration")
    present, now = store.refs.find("champion"), clock.wall().isoformat()
    who = successor(present, gate, challenger, judged, shifted)
    of_it = is_judged(gate, challenger, judged)
    if who == "nobody" and not of_it:
        raise ChampionError(
            "The challenger that stands ready was not judged: evaluation and gate are of another model.",
            mend="Run `churn materialize evaluation`, which makes the gate, too.",
        )
    if who == "nobody":
        decision = objects.read_json(gate["digest"])
        raise ChampionError(
            f"No challenger has passed the gate, and there is no champion to keep: {decision['reasons'][0]}.",
            mend="Bring more months or customers, or a larger --budget; the asset gate lists every check.",
        )
    if who == "challenger":
        made = mlflow.promote(context, home, challenger, {"evaluation": judged["digest"], "gate": gate["digest"]})
        facts = {
            "name": made.name,
            "version": made.version,
            "model": challenger["model"],
            "package": challenger["package"],
            "challenger": challenger["digest"],
            "tier": challenger["tier"],
            "evaluation": judged["digest"],
            "mlflow_run": made.run_id,
            "bases": [],
            # The same model again is no new promotion.
            "promoted_at": present["promoted_at"] if present and present["model"] == challenger["model"] else now,
            "cause": challenger.get("cause", {}),
        }
    elif who == "recalibration" and present is not None:
        made = mlflow.promote(context, home, shifted, {"recalibration": shifted["digest"]})
        facts = {
            **{name: present[name] for name in FACTS},
            "name": made.name,
            "version": made.version,
            "model": shifted["model"],
            "package": shifted["package"],
            "mlflow_run": made.run_id,
            "bases": [*present["bases"], present["model"]],
            "promoted_at": now,
            "cause": shifted.get("cause", {}),
        }
    else:
        facts = {name: present[name] for name in FACTS} if present is not None else {}
    project(home, objects, facts)
    service = feast.register_model(store, facts)
    step.write(facts["package"], **facts)
    alias = mlflow.champion_version(home)
    yield from step.result(
        metadata={
            "evaluation": dg.MetadataValue.md(markdown(objects.read_json(facts["evaluation"]))),
            "mlflow_version": dg.MetadataValue.url(mlflow.version_url(home, facts["version"])),
            "mlflow_run": dg.MetadataValue.url(mlflow.run_url(home, facts["mlflow_run"])),
            "promoted": who != "present",
            "judged": "yes" if of_it else "no: evaluation and gate are of another model than the challenger",
            "by": who,
            "cause": dg.MetadataValue.json(facts["cause"]),
            "model": facts["model"],
            "mlflow/model_version": facts["version"],
            "mlflow/run_id": facts["mlflow_run"],
            "feature_service": service,
        },
        checks=[
            check(
                "alias_agrees",
                alias == facts["version"],
                {"alias": alias or "none", "champion": facts["version"]},
            )
        ],
    )
