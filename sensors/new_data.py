"""New and changed tables, carried to features, labels, scores, drift, diagnosis and the business report."""

from __future__ import annotations

from typing import Any

import dagster as dg

from churn_platform.settings import settings


def new_data() -> dg.SensorDefinition:
    """The sensor: what is stale is asked for, until nothing is."""

    @dg.sensor(
        name="new_data",
        job_name="carry",
        minimum_interval_seconds=settings().sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks at the content of the source tables and at what has been made of them, and asks for a run "
        "that brings the flow of data up to date. Nothing that has stayed the same is made again; learning is "
        "never asked for here.",
    )
    def _new_data(context: dg.SensorEvaluationContext) -> Any:
        from churn_platform.records.home import Home
        from resources.carry import Nothing, next_step
        from resources.respond import told_if_it_fails

        home = Home.open()
        with told_if_it_fails(home, "new_data"):
            asked = next_step(context.instance, home)
        return dg.SkipReason(asked.why) if isinstance(asked, Nothing) else asked.request()

    return _new_data
