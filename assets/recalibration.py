"""The champion with its probabilities set right, where a diagnosis asks for that."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg

from assets.partitions import EVERY, check, version_of
from resources.lineage import LineageResource
from resources.mlflow import MlflowResource
from resources.store import StoreResource


class RecalibrationConfig(dg.Config):
    """The month whose departures set the probabilities right; empty: nothing is asked for."""

    month: str = ""


@dg.asset(
    group_name="training",
    kinds={"python", "mlflow"},
    owners=["team:ml"],
    description="The champion with another intercept, so that it expects as many departures as were observed after the "
    "month that a diagnosis names. Made when that is asked for; a run that does not ask leaves a note that says so.",
    code_version=version_of(
        "training/recalibration.py", "monitoring/recalibrate.py", "monitoring/signals.py", "assets/recalibration.py"
    ),
    deps=[
        dg.AssetDep("customer_features", partition_mapping=EVERY),
        dg.AssetDep("churn_labels", partition_mapping=EVERY),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "helps", asset="recalibration", description="The log loss on the window is lower than before."
        )
    ],
)
def recalibration(
    context: dg.AssetExecutionContext,
    config: RecalibrationConfig,
    lineage: LineageResource,
    store: StoreResource,
    mlflow: MlflowResource,
) -> Iterator[Any]:
    """Shift the present champion, if asked. A decision of its moment: later months do not make it stale."""
    step, objects, refs = lineage.step(context), store.objects, store.refs
    if not config.month:
        step.write(objects.put_json({"schema": "recalibration/1", "asked": False}), passed=False)
        yield from step.result(metadata={"asked": False}, checks=[check("helps", True, {"asked": False})])
        return
    from churn_platform.features.labels import outcome_table
    from churn_platform.monitoring.recalibrate import recalibrate

    contract = store.contract
    champion = refs.get("champion")  # read, not recorded: the champion depends on this
    features, labels = (refs.get(asset, config.month)["digest"] for asset in ("customer_features", "churn_labels"))
    table = f"sources/{outcome_table(contract)}"
    ends = refs.get(table, refs.partitions(table)[-1])["current"]["as_of"]
    made = recalibrate(
        champion,
        contract,
        config.month,
        features=features,
        labels=labels,
        as_of=datetime.fromisoformat(ends),
        store=objects,
    )
    facts = {"month": made.month, "base": made.base, "features": features, "labels": labels}
    run = mlflow.log_recalibration(context, store.home, objects, made)
    step.write(
        objects.put_json({**made.to_json(), **facts}),
        passed=made.passed,
        model=made.model,
        package=made.package,
        mlflow_run=run,
        **facts,
    )
    update = made.update
    yield from step.result(
        metadata={
            "asked": True,
            "month": made.month,
            "shift": update.shift,
            "expected": update.expected_before,
            "observed": update.observed,
            "model": made.model,
            "mlflow_run": dg.MetadataValue.url(mlflow.run_url(store.home, run)),
            "mlflow/run_id": run,
        },
        checks=[
            check("helps", made.passed, {"before": update.loss_before, "after": update.loss_after}, warn=True),
        ],
    )
