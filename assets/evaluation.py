"""How good the challenger is on months it has not seen, and whether that is good enough."""

from collections.abc import Iterator
from typing import Any, cast

import dagster as dg

from assets.partitions import check, version_of
from churn_platform.errors import ChampionError
from resources.lineage import LineageResource
from resources.mlflow import MlflowResource
from resources.store import StoreResource


@dg.asset(
    group_name="evaluation",
    kinds={"python"},
    owners=["team:ml"],
    description="Discrimination with its interval, calibration, lift and profit on the temporal holdout, beside "
    "logistic regression and the recency rule; for simulated data beside the oracle.",
    code_version=version_of("evaluation", "champion/rivals.py", "assets/evaluation.py"),
    deps=["challenger", "training_set"],
    check_specs=[
        dg.AssetCheckSpec(
            "beats_floors",
            asset="evaluation",
            description="AUC is at most 0.01 below logistic regression and the recency rule, on the same rows.",
        ),
        dg.AssetCheckSpec(
            "calibrated",
            asset="evaluation",
            description="The calibration slope lies between 0.7 and 1.4: probabilities are neither too bold nor too "
            "timid.",
        ),
    ],
)
def evaluation(
    context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource, mlflow: MlflowResource
) -> Iterator[Any]:
    """Judge the predictions on held-out rows."""
    from churn_platform.champion.rivals import champion_margins
    from churn_platform.evaluation.oracle import state_oracle_auc
    from churn_platform.evaluation.predictions import Predictions
    from churn_platform.evaluation.report import evaluate
    from churn_platform.evaluation.splits import Protocol
    from churn_platform.monitoring.evaluation_page import markdown
    from churn_platform.training.challenger import Challenger
    from churn_platform.training.dataset import TrainingSet

    step, objects = lineage.step(context), store.objects
    judged = Challenger.from_json(objects.read_json(step.read("challenger")["digest"]))
    rows = TrainingSet.read(objects, step.read("training_set")["digest"])
    predictions = Predictions.read(objects, judged.predictions)
    # The champion is read, not recorded as an input: a promotion must not make the next evaluation stale. Rows that
    # it has learned from would flatter it, so without later months there is no comparison on the same rows.
    present = store.refs.find("champion")
    rival = None
    if present is not None and present["model"] != judged.digest and judged.protocol == "temporal":
        rival = champion_margins(present["package"], present["model"], predictions, rows, objects)
    found = evaluate(
        predictions,
        protocol=cast(Protocol, judged.protocol),
        tier=judged.tier,
        tuned_on=judged.tuned_on,
        champion_margin=rival,
        notes=judged.notes,
    )
    location = store.location
    if location.truth is not None:
        found["oracle_auc"] = state_oracle_auc(predictions, rows.customers(objects), location.truth, store.vault)
    run = mlflow.log_evaluation(store.home, judged.digest, found)
    step.write(objects.put_json(found), rows=found["rows"], model=judged.digest, auc=found["auc"])
    floors = {name: value for name, value in found["floors"].items() if value is not None}
    yield from step.result(
        metadata={
            "report": dg.MetadataValue.md(markdown(found, predictions)),
            "mlflow_run": dg.MetadataValue.url(run),
            "auc": found["auc"],
            "auc_interval": f"{found['auc_low']:.4f} to {found['auc_high']:.4f}",
            "calibration_slope": found["calibration_slope"],
            "lift_at_10": found["lift_at_10"],
        },
        checks=[
            check(
                "beats_floors",
                all(found["auc"] >= floor - 0.01 for floor in floors.values()),
                floors,
                warn=True,
            ),
            check(
                "calibrated",
                0.7 <= found["calibration_slope"] <= 1.4,
                {"slope": found["calibration_slope"], "ece": found["ece"]},
                warn=True,
            ),
        ],
    )


@dg.asset(
    group_name="evaluation",
    kinds={"python"},
    owners=["team:ml"],
    description="Whether the challenger may become champion: a pure function of the evaluations, each criterion named "
    "with its value and threshold. Inconclusive keeps the champion.",
    code_version=version_of("champion/gates.py", "assets/evaluation.py"),
    deps=["evaluation", "challenger"],
    check_specs=[
        dg.AssetCheckSpec(
            "passed",
            asset="gate",
            description="The challenger may become champion. A failure keeps the present champion; it is no fault.",
        )
    ],
)
def gate(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Decide, and keep the decision with its reasons."""
    from churn_platform.champion.gates import decide
    from churn_platform.monitoring.evaluation_page import gate_page

    step, objects, refs = lineage.step(context), store.objects, store.refs
    judged, challenger = step.read("evaluation"), step.read("challenger")
    if judged.get("model") != challenger["model"]:
        raise ChampionError(
            "The evaluation is of another model than the challenger that stands ready.",
            mend="Run `churn materialize evaluation`, which makes the gate, too.",
        )
    candidate = objects.read_json(judged["digest"])
    present = refs.find("champion")  # read, not recorded: see evaluation
    before = objects.read_json(present["evaluation"]) if present and present["model"] != challenger["model"] else None
    decision = decide(candidate, before, challenger["tier"])
    step.write(objects.put_json(decision.to_json()), passed=decision.passed, model=challenger["model"])
    yield from step.result(
        metadata={"passed": decision.passed, "reasons": dg.MetadataValue.md(gate_page(decision))},
        checks=[check("passed", decision.passed, {"reasons": "; ".join(decision.reasons)}, warn=True)],
    )
