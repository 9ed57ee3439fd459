"""The jobs of a problem."""

from typing import Any

import dagster as dg

CARRIED_BY = "churn/carried_by"


@dg.op(
    name="carry_on",
    description="Makes what is stale in the flow of data, in runs of the job everything that do nothing in vain.",
    out=dg.Out(dg.Nothing),
)
def carry_on(context: dg.OpExecutionContext) -> None:
    """Each part becomes a run of its own in the timeline, with the range of months that it needs."""
    from churn_platform.records.home import Home
    from resources.carry import carry
    from resources.orphans import mark

    mark(context.instance, context.run)
    why = {name: value for name, value in context.run.tags.items() if name.startswith("churn/")}
    made = carry(context.instance, Home.open(), {**why, CARRIED_BY: context.run_id})
    context.log.info(f"made: {', '.join(made.materialized) or 'nothing: everything was up to date'}")


@dg.job(
    name="carry",
    description="New data: tables, features, labels, scores, drift, diagnosis, business report; no training. Asked for "
    "by the sensor new_data.",
    executor_def=dg.in_process_executor,
)
def carry_job() -> None:
    """One step, so that a month costs one process."""
    carry_on()


def all_jobs() -> list[Any]:
    """``everything`` makes all assets for a range of observation months, ``score_month`` and ``retrain`` parts of it;
    ``carry`` is what the sensor asks for."""
    features = dg.AssetSelection.groups(
        "sources", "customers", "features", "monitoring", "outlets"
    ) | dg.AssetSelection.assets("scores_current", "scores_outlet")
    return [
        carry_job,
        dg.define_asset_job(
            "everything",
            selection=dg.AssetSelection.all(),
            description="From raw tables to bento, scores and reports, for a range of observation months.",
        ),
        dg.define_asset_job(
            "score_month",
            selection=features,
            description="A new month: tables, features, labels, scores, drift, business report; no training.",
        ),
        dg.define_asset_job(
            "retrain",
            selection=dg.AssetSelection.groups("training", "evaluation", "champion", "serving"),
            description="A challenger from the present features and labels, judged, and if it passes, packaged.",
        ),
    ]
