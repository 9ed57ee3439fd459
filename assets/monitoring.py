"""What the platform watches: drift of each month against the training months, and the business."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.partitions import EVERY, SAME, check, monthly, version_of
from resources.lineage import LineageResource
from resources.links import page_link
from resources.store import StoreResource


@dg.asset(
    group_name="monitoring",
    kinds={"evidently"},
    owners=["team:ml"],
    description="PSI of every feature against the months that the champion learned from; for the newest month of a "
    "run also Evidently's page, on samples.",
    code_version=version_of("monitoring", "assets/monitoring.py"),
    deps=[dg.AssetDep("customer_features", partition_mapping=SAME), "champion"],
    check_specs=[
        dg.AssetCheckSpec(
            "population_is_stable",
            asset="drift_report",
            description="In the newest month of the run fewer than 30 % of the features have moved beyond PSI 0.25.",
        )
    ],
    **monthly(),
)
def drift_report(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Compare each month of the run with the training months."""
    from churn_platform.monitoring.learned import learned_tables
    from churn_platform.monitoring.months import drift_of_months

    step, objects = lineage.step(context), store.objects
    current = {}
    for month in step.partitions:
        current[month] = step.read("customer_features", month, into=month)["digest"]
        champion = step.read("champion", into=month)
    reports = drift_of_months(
        {month: objects.path(digest) for month, digest in learned_tables(store.home, champion).items()},
        {month: objects.path(digest) for month, digest in current.items()},
        contract=store.contract,
        catalogue=store.catalogue,
        out_dir=store.home.reports / "drift",
        progress=step.progress,
    )
    for month, report in reports.items():
        step.write(objects.put_json(report.to_json()), into=month, rows=report.current_rows, drifted=report.drifted)
    newest = reports[max(reports)]
    yield from step.result(
        per_partition={
            month: {
                "report": dg.MetadataValue.md(report.markdown()),
                **({"evidently": page_link(store.home, report.evidently_html)} if report.evidently_html else {}),
                **report.metadata(),
            }
            for month, report in reports.items()
        },
        checks=[
            check(
                "population_is_stable",
                not newest.drifted,
                {"share_drifted": newest.share_drifted, "month": max(reports)},
                warn=True,
            )
        ],
    )


@dg.asset(
    group_name="monitoring",
    kinds={"python"},
    owners=["team:customer-success"],
    description="Churn of customers and of revenue by month, revenue at risk, expected departures, head of the list.",
    code_version=version_of("monitoring", "assets/monitoring.py"),
    deps=[
        "scores_current",
        "champion",
        dg.AssetDep("customer_features", partition_mapping=EVERY),
        dg.AssetDep("churn_labels", partition_mapping=EVERY),
    ],
)
def business_report(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Put the months and today's scores into one page."""
    from churn_platform.evaluation.predictions import Predictions
    from churn_platform.monitoring import business_page
    from churn_platform.monitoring.business import business_report as report_of
    from churn_platform.monitoring.business import held_out
    from churn_platform.records.files import write_atomic
    from churn_platform.training.challenger import Challenger

    step, objects, contract = lineage.step(context), store.objects, store.contract
    scores = objects.path(step.read("scores_current")["digest"])
    features = {month: objects.path(ref["digest"]) for month, ref in step.read_all("customer_features").items()}
    labels = {month: objects.path(ref["digest"]) for month, ref in step.read_all("churn_labels").items()}
    judged = Challenger.from_json(objects.read_json(step.read("champion")["challenger"]))
    report = report_of(
        scores,
        features,
        labels,
        horizon_days=contract.label.horizon_days,
        currency=contract.currency,
        predictions=held_out(Predictions.read(objects, judged.predictions)),
    )
    page = business_page.markdown(report)
    path = store.home.reports / "business" / "report.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page.encode())
    step.write(objects.put_json(business_page.to_json(report)))
    yield from step.result(
        metadata={
            "report": dg.MetadataValue.md(page),
            "file": page_link(store.home, path),
            **business_page.metadata(report),
        }
    )
