"""What Dagster loads: the assets, jobs and resources of the problem that this home holds.

``build_defs(**overrides)`` lets tests and deployments replace resources. Loading imports no heavy library.
"""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg

from churn_platform.features.labels import label_tables
from churn_platform.records.home import Home
from churn_platform.settings import settings
from churn_platform.sources import present
from churn_platform.sources.contract import RELATIONAL_TABLES
from churn_platform.sources.location import find_location


def tables_in_home() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tables of the home's contract, and those that its labels are made from; every relational table where the
    home holds no source yet."""
    if (settings().home / "VERSION").is_file():
        home = Home.open()
        present.follow(home, settings().problem)
        found = find_location(home, settings().problem)
        if found is not None:
            return tuple(found.contract.tables), label_tables(found.contract)
    return RELATIONAL_TABLES, ("churn_events", "interventions")


def build_defs(**overrides: Any) -> dg.Definitions:
    """The Definitions. ``overrides`` replace resources by their names: store, lineage, feast, mlflow, bento."""
    with warnings.catch_warnings():
        # Dagster marks its range backfills as beta; the reader of our output cannot do anything about it.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        from assets import all_assets
        from resources import all_resources
        from sensors import all_schedules, all_sensors
        from sensors.jobs import all_jobs

        return dg.Definitions(
            assets=all_assets(*tables_in_home()),
            jobs=all_jobs(),
            sensors=all_sensors(),
            schedules=all_schedules(),
            resources={**all_resources(), **overrides},
            executor=dg.in_process_executor,
        )


defs = build_defs()
