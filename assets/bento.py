"""The champion as a bento, and every active customer scored, explained and ranked by it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.partitions import NEWEST, check, must_hold, version_of
from churn_platform.settings import settings
from resources.bento import BentoResource
from resources.lineage import LineageResource
from resources.store import StoreResource


@dg.asset(
    group_name="serving",
    kinds={"bentoml"},
    owners=["team:ml"],
    description="A BentoML service around the champion: code, native model, digest manifest, no pickle. Its version "
    "is the digest of what is in it.",
    code_version=version_of(".", "assets/bento.py", "bentos", "feature_repo", "requirements.lock"),
    deps=["champion"],
    check_specs=[
        must_hold(
            "champion_bento",
            "model_is_the_champion",
            "The model inside the bento is the very one that the registry's champion is, by its digest.",
        )
    ],
)
def champion_bento(
    context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource, bento: BentoResource
) -> Iterator[Any]:
    """Build the bento, or find the identical one."""
    step, objects = lineage.step(context), store.objects
    ref = step.read("champion")
    built, model = bento.build(store.home, objects, ref)
    manifest = objects.put_json({"schema": "champion_bento/1", "tag": built.tag, "digest": built.digest})
    step.write(manifest, tag=built.tag, model=model, version=ref["version"])
    yield from step.result(
        metadata={"tag": built.tag, "path": dg.MetadataValue.path(str(built.path)), "reused": built.reused},
        checks=[check("model_is_the_champion", model == ref["model"], {"in_bento": model, "champion": ref["model"]})],
    )


@dg.asset(
    group_name="serving",
    kinds={"parquet"},
    owners=["team:customer-success"],
    description="Every active customer of the newest month: probability, reasons, contributions, expected loss; whom "
    "to call first stands first. Pseudonyms only.",
    code_version=version_of("serving/batch.py", "champion", "assets/bento.py"),
    deps=[
        "champion",
        dg.AssetDep("customer_features", partition_mapping=NEWEST),
        dg.AssetDep("churn_labels", partition_mapping=NEWEST),
    ],
    check_specs=[
        must_hold(
            "scores_current",
            "contributions_add_up",
            "For every customer the base value and the contributions sum to the log-odds, within 1e-9.",
        ),
        must_hold(
            "scores_current",
            "everyone_is_scored",
            "Every customer of the newest month is on the list, but those known to have left since.",
        ),
    ],
)
def scores_current(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Score, explain and rank the newest month with the champion."""
    from churn_platform.champion.package import exported, load_package
    from churn_platform.monitoring.scores_page import markdown
    from churn_platform.serving.batch import score_month

    step, objects = lineage.step(context), store.objects
    ref = step.read("champion")
    month, features = step.read_newest("customer_features")
    _, labels = step.read_newest("churn_labels")
    with exported(objects, ref["package"]) as package:
        model = load_package(package, digest=ref["model"])
        made = score_month(
            model,
            features["digest"],
            month,
            version=str(ref["version"]),
            store=objects,
            labels=labels["digest"],
            threads=settings().threads,
            progress=step.progress,
        )
    step.write(
        made.digest,
        rows=made.rows,
        month=month,
        model=ref["model"],
        version=ref["version"],
        revenue_at_risk=made.revenue_at_risk,
    )
    yield from step.result(
        metadata={
            "month": month,
            "customers": made.rows,
            "revenue_at_risk": made.revenue_at_risk or 0.0,
            "first_of_the_list": dg.MetadataValue.md(markdown(objects.path(made.digest))),
        },
        checks=[
            check("contributions_add_up", made.worst_additivity < 1e-9, {"worst": made.worst_additivity}),
            check(
                "everyone_is_scored",
                made.rows == features["rows"] - made.gone,
                {"scored": made.rows, "active": features["rows"], "known_to_have_left": made.gone},
            ),
        ],
    )
