"""``churn demo``: one command from raw tables to a served, explained prediction."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_platform.cli.demo_source import SourceRequest

if TYPE_CHECKING:
    from churn_platform.records.provenance import Plan
    from churn_platform.sources.calendar import Calendar
    from churn_platform.sources.location import SourceLocation
    from resources.runner import RunOutcome


def demo(
    source: Annotated[Path | None, typer.Option("--source", help="A flat file or a folder of your tables.")] = None,
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
        int, typer.Option("--service-port", help="Port of the service; 0 takes a free one.")
    ] = 3000,
    dagster_port: Annotated[
        int, typer.Option("--dagster-port", help="Port of the Dagster UI; 0 takes a free one.")
    ] = 3001,
    exit: Annotated[bool, typer.Option("--exit", help="Stop everything at the end instead of staying up.")] = False,
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout, for programs.")] = False,
) -> None:
    """From nothing to live endpoints: tables → features → champion → service → explained predictions.

    A second run uses what is there and makes only what has changed.

    Example: `churn demo --source customers.csv --exit`
    """
    started = time.perf_counter()
    request = SourceRequest(source, contract, label, positive, id, customers, months, seed, preset)
    _Demo(request, budget, seed, (service_port, dagster_port), started).run(stay=not exit, as_json=json)


class _Demo:
    """The steps of one demo. Kept as an object because each step needs what the ones before it found."""

    def __init__(
        self,
        request: SourceRequest,
        budget: str | None,
        seed: int | None,
        ports: tuple[int, int],
        started: float,
    ) -> None:
        from churn_platform.cli.environment import enter_home
        from churn_platform.cli.output import Stages
        from churn_platform.records.home import Home
        from churn_platform.settings import settings

        enter_home()
        self.home = Home.open()
        self.problem = settings().problem
        self.request, self.budget, self.seed = request, budget, seed
        self.ports, self.started = ports, started
        self.stages = Stages()
        self.calendar: Calendar
        self.defs: Any
        self.config: dict[str, dict[str, Any]]
        self.work: Plan
        self.location: SourceLocation

    def run(self, *, stay: bool, as_json: bool) -> None:
        from churn_platform.cli import demo_report
        from churn_platform.cli.output import print_json
        from churn_platform.cli.servers import start_dagster, start_service
        from churn_platform.cli.supervise import Supervisor, claim_port, wait_for_stop

        claim_port(self.ports[0], "--service-port")  # said before the work, not after it
        with Supervisor(self.home.logs, self.home.run) as supervisor:
            self._source()
            self._plan()
            # The UI loads the asset graph of the source, so it starts after that is known and beside all the rest.
            ui, ui_url = start_dagster(supervisor, self.home, self.ports[1])
            outcome = self._materialize()
            with self.stages.stage("service", "Start the service") as stage:
                service_url = start_service(supervisor, self.home, self.ports[0])
                stage.note(service_url)
            with self.stages.stage("predictions", "Ask it for predictions") as stage:
                key, answers = self._predict(service_url)
                stage.note(f"{len(answers)} answered")
            with self.stages.stage("dagster_ui", "Wait for the Dagster UI") as stage:
                supervisor.wait_until_up(ui, f"{ui_url}/server_info", timeout=120)
                stage.note(ui_url)
            elapsed = time.perf_counter() - self.started
            answer = demo_report.summarize(
                self.home,
                predictions=answers,
                materialized=outcome.materialized,
                seconds={**self.stages.seconds, **outcome.seconds},
                elapsed=elapsed,
                urls={"service": service_url, "dagster": ui_url, "console": None},
            )
            if as_json:
                print_json(answer)
            else:
                demo_report.print_report(self.home, answer, answers, key if stay else None)
            if stay:
                wait_for_stop(supervisor)

    def _source(self) -> None:
        """Bring the source into the home and find its observation dates and its present."""
        from churn_platform.cli.demo_source import fix_present, prepare
        from churn_platform.cli.environment import enter_home
        from churn_platform.sources.calendar import observe_dates
        from churn_platform.sources.location import load_location

        with self.stages.stage("source", "Find or simulate the raw tables") as stage:
            location = prepare(self.home, self.problem, self.request, stage)
            known = location.calendar
            self.calendar = known or observe_dates(location.contract, location.path, tmp=self.home.tmp)
            if fix_present(self.home, self.problem, location, self.calendar.as_of):
                enter_home()
            self.location = load_location(self.home, self.problem)
            if known is None:
                self.location.keep_calendar(self.calendar)

    def _plan(self) -> None:
        """Load the asset graph, open the instance, and find what is missing or stale."""
        with self.stages.stage("definitions", "Load Dagster and the asset graph") as stage:
            from resources import runner

            self.defs = runner.definitions()
            self.config = runner.training_config(self.home, budget=self.budget, seed=self.seed)
            months = self.calendar.observations
            # The instance is made here, before the UI starts: two processes that make it at once break its tables.
            with runner.instance() as found:
                runner.add_observations(found, months)
            self.work = runner.plan(self.home, self.defs, months, self.location, runner.config_digests(self.config))
            count = len(self.work.assets)
            stage.note(f"{len(months)} observation date{'s' * (len(months) > 1)}, {count} assets to make")

    def _materialize(self) -> RunOutcome:
        """Bring every asset up to date in one in-process run."""
        from resources import runner

        with runner.instance() as found:
            return runner.run(found, self.defs, self.work, op_config=self.config, listener=_AssetLines(self.stages))

    def _predict(self, url: str) -> tuple[str, list[dict[str, Any]]]:
        """A key for this demo, and its sample predictions over HTTP."""
        from churn_platform.cli.demo_predictions import demo_key, sample_predictions

        key = demo_key(self.home)
        return key, sample_predictions(self.home, url, key)


class _AssetLines:
    """Prints one stage line for each asset that the run makes."""

    def __init__(self, stages: Any) -> None:
        self._stages = stages
        self._open: dict[str, tuple[Any, Any]] = {}

    def __call__(self, event: str, asset: str, text: str, share: float | None) -> None:
        if event == "begin":
            manager = self._stages.stage(f"asset:{asset}", asset)
            self._open[asset] = (manager, manager.__enter__())
        elif event == "update":
            self._open[asset][1].update(text, share)
        elif event == "end":
            manager, stage = self._open.pop(asset)
            stage.note(text)
            manager.__exit__(None, None, None)
        elif event == "fail":
            from contextlib import suppress

            failure = RuntimeError(asset)
            with suppress(RuntimeError):
                self._open.pop(asset)[0].__exit__(RuntimeError, failure, None)
