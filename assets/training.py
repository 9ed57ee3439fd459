"""The training set and a challenger learned from it."""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg

from assets.partitions import EVERY, check, must_hold, version_of
from churn_platform.records.provenance import digest_of
from churn_platform.settings import settings
from churn_platform.sources.tables import TableVersion
from resources.lineage import LineageResource
from resources.mlflow import MlflowResource
from resources.store import StoreResource


class ChallengerConfig(dg.Config):
    """How long the search may be, and its seed."""

    budget: Literal["quick", "standard", "full"] = "quick"
    seed: int = 7


@dg.asset(
    group_name="training",
    kinds={"parquet"},
    owners=["team:ml"],
    description="Features and mature labels of all months without a data fault, joined. Its rows are ordered by "
    "content: no pseudonym can influence a model.",
    code_version=version_of(
        "training/dataset.py",
        "training/leak.py",
        "training/leak_rows.py",
        "training/leaks.py",
        "features/origin.py",
        "sources/outcome_names.py",
        "assets/training.py",
    ),
    deps=[
        dg.AssetDep("customer_features", partition_mapping=EVERY),
        dg.AssetDep("churn_labels", partition_mapping=EVERY),
        "feature_selection",
        dg.AssetDep("cross_rules"),  # nothing is learnt from tables that contradict each other
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "enough_leavers",
            asset="training_set",
            description="At least 50 departures: below that there is a ranked list by rules, and no probability.",
        ),
        dg.AssetCheckSpec(
            "no_leaks",
            asset="training_set",
            blocking=True,
            description="No column tells the outcome by its name, its times or by itself, but for those that people "
            "have reviewed (leak_reviewed in the contract); no row is in two folds.",
        ),
    ],
)
def training_set(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Join features and labels by month and customer."""
    from churn_platform.training.dataset import build_training_set
    from churn_platform.training.leaks import find_leaks, refuse

    step, objects = lineage.step(context), store.objects
    # Read, not recorded: the diagnosis depends on the champion.
    faulty = {m for m in store.refs.partitions("diagnosis") if _kind(store, m) == "data_fault"}
    left_out = [m for m in sorted(faulty) if (store.refs.find("churn_labels", m) or {}).get("mature")]
    features = {m: ref["digest"] for m, ref in step.read_all("customer_features").items() if m not in faulty}
    labels = {m: ref["digest"] for m, ref in step.read_all("churn_labels").items() if m not in faulty}
    contract = store.contract
    step.read("feature_selection")
    chosen = store.selection
    made = build_training_set(
        features,
        labels,
        store.learnt_catalogue,
        contract,
        store=objects,
        chosen_on=chosen.judging if chosen else (),
        left_out=left_out,
    )
    leaks = find_leaks(contract, made.load(objects), _newest_versions(store), objects, store.mutable_since)
    said = {leak.column: f"{leak.evidence} {leak.mend}".rstrip(".") for leak in leaks if leak.review is None}
    reviewed = {f"reviewed/{leak.column}": f"{leak.review}: {leak.evidence}" for leak in leaks if leak.review}
    if said:
        yield check("no_leaks", False, said | reviewed)
    refuse(leaks)
    made = made.with_reviewed([leak.to_json() for leak in leaks], objects)
    rows, positives = int(made.spec["n_rows"]), int(made.spec["positives"])
    step.write(made.put(objects), rows=rows, positives=positives, spec=made.spec_digest)
    yield from step.result(
        metadata={
            "leavers": positives,
            "base_rate": positives / rows,
            "months": dg.MetadataValue.json(list(made.spec["observations"])),
            "left_out_for_data_faults": ", ".join(sorted(faulty)) or "none",
        },
        checks=[
            check("enough_leavers", positives >= 50, {"leavers": positives, "needed": 50}, warn=True),
            check("no_leaks", True, {"features": len(made.features), **reviewed}),
        ],
    )


def _kind(store: StoreResource, month: str) -> str:
    """The diagnosis of a month, in a word."""
    return str((store.refs.find("diagnosis", month) or {}).get("kind", ""))


def _newest_versions(store: StoreResource) -> dict[str, TableVersion]:
    """What is known now of each table that has been materialized."""
    objects, refs = store.objects, store.refs
    found = {}
    for table in store.contract.tables:
        if months := refs.partitions(f"sources/{table}"):
            digest = refs.get(f"sources/{table}", months[-1])["digest"]
            found[table] = TableVersion.from_json(objects.read_json(digest))
    return found


@dg.asset(
    group_name="training",
    kinds={"lightgbm", "optuna", "mlflow"},
    owners=["team:ml"],
    description="A LightGBM model tuned by a short search on forward folds and calibrated out of fold, packaged as "
    "text files with a digest manifest. Predictions on held-out rows beside it.",
    code_version=version_of("training", "evaluation", "assets/training.py", "requirements.lock"),
    deps=["training_set"],
    check_specs=[
        must_hold(
            "challenger",
            "package_verifies",
            "The package loads from the store, its files have their digests, and it gives its own reference margins.",
        )
    ],
)
def challenger(
    context: dg.AssetExecutionContext,
    config: ChallengerConfig,
    lineage: LineageResource,
    store: StoreResource,
    mlflow: MlflowResource,
) -> Iterator[Any]:
    """Search, calibrate, fit, predict what was held out, package."""
    from churn_platform.champion.package import verify_package
    from churn_platform.training.challenger import train
    from churn_platform.training.dataset import TrainingSet

    values = config.model_dump()
    step, objects = lineage.step(context, {"config:challenger": digest_of(values)}), store.objects
    learned_from = TrainingSet.read(objects, step.read("training_set")["digest"])
    made = train(
        learned_from,
        budget=config.budget,
        seed=config.seed,
        threads=settings().threads,
        store=objects,
        progress=step.progress,
    )
    verified = verify_package(objects, made.package)
    run = mlflow.log_training(context, store.home, objects, made)
    step.write(
        objects.put_json(made.to_json()),
        config=values,
        package=made.package,
        model=made.digest,
        tier=made.tier,
        mlflow_run=run,
    )
    yield from step.result(
        metadata={
            "model": made.digest,
            "tier": made.tier,
            "protocol": made.protocol,
            "params": dg.MetadataValue.json(dict(made.params)),
            "split": dg.MetadataValue.json(dict(made.split)),
            "mlflow_run": dg.MetadataValue.url(mlflow.run_url(store.home, run)),
            "mlflow/run_id": run,
            "notes": "; ".join(made.notes) or "none",
        },
        checks=[check("package_verifies", verified, {"digest": made.digest})],
    )
