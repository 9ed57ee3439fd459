"""``churn materialize``: bring assets up to date without serving anything."""

from __future__ import annotations

import time
from typing import Annotated

import typer


def materialize(
    assets: Annotated[
        list[str] | None, typer.Argument(help="Assets to make in any case, with all that depends on them.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="quick, standard or full search; default: the home's.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Make what is missing or stale in this home, through Dagster.

    Example: `churn materialize drift_report`
    """
    from churn_platform.cli.demo_source import SourceRequest
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import Stages, out, print_json
    from churn_platform.cli.pipeline import Pipeline
    from churn_platform.records.home import Home
    from churn_platform.records.lock import exclusive
    from churn_platform.settings import settings
    from churn_platform.sources.location import load_location

    started = time.perf_counter()
    enter_home()
    home = Home.open()
    load_location(home, settings().problem)  # a home without a source says so; it does not simulate one
    with exclusive(home.run / "pipeline.lock", "make its assets", wait=5.0):
        pipeline = Pipeline(home, settings().problem, Stages())
        pipeline.source(SourceRequest())
        pipeline.plan(budget=budget, again=tuple(assets or ()))
        outcome = pipeline.materialize()
    elapsed = round(time.perf_counter() - started, 3)
    if json:
        print_json(
            {
                "status": "ok",
                "materialized": outcome.materialized,
                "run_id": outcome.run_id,
                "seconds": outcome.seconds,
                "elapsed": elapsed,
            }
        )
    else:
        made = ", ".join(outcome.materialized) or "nothing: everything was up to date"
        out.print(f"Made in {elapsed:.0f} s: {made}.", soft_wrap=True)
