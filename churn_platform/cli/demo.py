"""``churn demo``: one command from raw tables to a served, explained prediction."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_platform.cli.demo_source import SourceRequest

if TYPE_CHECKING:
    from churn_platform.cli.pipeline import Pipeline


WAIT = 5.0
"""Seconds that a command waits for another one which is changing the home."""


def demo(
    source: Annotated[
        str | None,
        typer.Option("--source", help="Your tables: a file, a folder, postgresql://user@host/database, s3://bucket."),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option("--contract", help="What the tables mean; default: contract.yaml there, or inferred."),
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Flat file: the column that says who has left.")] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", help="Flat file: the label's value for: has left.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Flat file: the column with the customer's id.")] = None,
    customers: Annotated[
        int | None, typer.Option("--customers", min=10, help="Simulated active accounts; default 5000.")
    ] = None,
    months: Annotated[
        int | None, typer.Option("--months", min=3, help="Simulated months of history; default 18.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the simulation and of the search; default 7.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="A drift of the simulation; default none.")] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="quick, standard or full search; default: the home's, else quick."),
    ] = None,
    service_port: Annotated[
        int, typer.Option("--service-port", min=0, max=65535, help="Port of the service; 0 takes a free one.")
    ] = 3000,
    dagster_port: Annotated[
        int, typer.Option("--dagster-port", min=0, max=65535, help="Port of the Dagster UI; 0 takes a free one.")
    ] = 3001,
    exit: Annotated[bool, typer.Option("--exit", help="Stop everything at the end instead of staying up.")] = False,
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout, for programs.")] = False,
) -> None:
    """From nothing to live endpoints: tables → features → champion → service → explained predictions.

    A second run uses what is there and makes only what has changed.

    Example: `churn demo --source customers.csv --exit`
    """
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import Stages
    from churn_platform.cli.pipeline import Pipeline
    from churn_platform.records.home import Home
    from churn_platform.records.lock import exclusive
    from churn_platform.settings import settings

    started = time.perf_counter()
    request = SourceRequest(source, contract, label, positive, id, customers, months, seed, preset)
    enter_home()
    home = Home.open()
    pipeline = Pipeline(home, settings().problem, Stages())
    with exclusive(home.run / "up.lock", "run a demo"):
        _run(pipeline, request, (budget, seed), (service_port, dagster_port), started, stay=not exit, as_json=json)


def _run(
    pipeline: Pipeline,
    request: SourceRequest,
    search: tuple[str | None, int | None],
    ports: tuple[int, int],
    started: float,
    *,
    stay: bool,
    as_json: bool,
) -> None:
    """The stages of a demo. ``search`` is (budget, seed), ``ports`` (service, Dagster UI)."""
    from churn_platform.cli import demo_report
    from churn_platform.cli.demo_predictions import demo_key, sample_predictions
    from churn_platform.cli.output import print_json
    from churn_platform.cli.pipeline import check_budget
    from churn_platform.cli.servers import start_dagster, start_service, stay_up
    from churn_platform.cli.supervise import Supervisor, claim_port, sweep
    from churn_platform.errors import ConfigurationError
    from churn_platform.records.lock import exclusive

    home, stages = pipeline.home, pipeline.stages
    # Said before the work, not after it.
    claim_port(ports[0], "--service-port")
    claim_port(ports[1], "--dagster-port")
    if ports[0] == ports[1] != 0:
        raise ConfigurationError(
            "--service-port and --dagster-port are the same.", mend="Give each its own.", field="dagster-port"
        )
    check_budget(search[0])
    sweep(home.root, home.run)
    with Supervisor(home.logs, home.run, "churn demo") as supervisor:
        # The tables and what is made of them are this command's until the daemon takes over.
        with exclusive(home.run / "pipeline.lock", "make its assets", wait=WAIT):
            pipeline.source(request)
            pipeline.plan(budget=search[0], seed=search[1])
            # The UI loads the asset graph of the source, so it starts after that is known and beside all the rest.
            ui, ui_url = start_dagster(supervisor, home, ports[1])
            outcome = pipeline.materialize()
        with stages.stage("service", "Start the service") as stage:
            service_url = start_service(supervisor, home, ports[0])
            stage.note(service_url)
        with stages.stage("predictions", "Ask it for predictions") as stage:
            key = demo_key(home)
            answers = sample_predictions(home, service_url, key)
            stage.note(f"{len(answers)} answered")
        with stages.stage("dagster_ui", "Wait for the Dagster UI") as stage:
            supervisor.wait_until_up(ui, f"{ui_url}/server_info", timeout=120)
            stage.note(ui_url)
        answer = demo_report.summarize(
            home,
            predictions=answers,
            materialized=outcome.materialized,
            seconds={**stages.seconds, **outcome.seconds},
            elapsed=time.perf_counter() - started,
            urls={"service": service_url, "dagster": ui_url, "console": None},
        )
        if as_json:
            print_json(answer)
        else:
            demo_report.print_report(home, answer, answers, key if stay else None)
        if stay:
            stay_up(supervisor, home)
