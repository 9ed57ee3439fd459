"""From a source to up-to-date assets: what ``churn demo`` and ``churn materialize`` have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from churn_platform.cli.output import Stage, Stages
from churn_platform.errors import BusyError, ConfigurationError
from churn_platform.records.home import Home

if TYPE_CHECKING:
    from churn_platform.cli.demo_source import SourceRequest
    from churn_platform.records.provenance import Plan
    from churn_platform.sources.calendar import Calendar
    from churn_platform.sources.location import SourceLocation
    from resources.runner import RunOutcome


def check_budget(budget: str | None) -> None:
    """See that a search of that budget exists; None is the home's own.

    Raises:
        ConfigurationError: there is none; lists those there are.
    """
    from churn_platform.training.search import BUDGETS

    if budget not in (None, *BUDGETS):
        raise ConfigurationError(
            f"--budget {budget!r} is not known.", mend=f"Give {', '.join(BUDGETS)}.", field="budget"
        )


class Pipeline:
    """One home's way from tables to assets. The steps are called in order: source, plan, materialize."""

    def __init__(self, home: Home, problem: str, stages: Stages) -> None:
        self.home, self.problem, self.stages = home, problem, stages
        self.location: SourceLocation
        self.calendar: Calendar
        self.work: Plan
        self._defs: Any
        self._config: dict[str, dict[str, Any]]
        self._again: tuple[str, ...] = ()

    def source(self, request: SourceRequest) -> None:
        """Bring the source into the home and find its observation dates and its present."""
        from churn_platform.cli.demo_source import prepare
        from churn_platform.cli.environment import enter_home
        from churn_platform.records.leftovers import sweep_home
        from churn_platform.sources.calendar import observe_dates
        from churn_platform.sources.location import load_location
        from churn_platform.sources.present import fix_present

        sweep_home(self.home)
        with self.stages.stage("source", "Find or simulate the raw tables") as stage:
            location = prepare(self.home, self.problem, request, stage)
            known = location.calendar
            self.calendar = known or observe_dates(
                location.contract, location.path, tmp=self.home.tmp, before=location.calendar_before
            )
            if fix_present(self.home, self.problem, location, self.calendar.as_of):
                enter_home()
            self.location = load_location(self.home, self.problem)
            if known is None:
                self.location.keep_calendar(self.calendar)

    def plan(self, *, budget: str | None = None, seed: int | None = None, again: tuple[str, ...] = ()) -> None:
        """Load the asset graph, open the instance, and find what is missing or stale.

        Args:
            budget, seed: of the search; None keeps what the home's challenger was made with.
            again: assets to make in any case, with all that depends on them.
        """
        check_budget(budget)
        with self.stages.stage("definitions", "Load Dagster and the asset graph") as stage:
            from resources import orphans, runner

            self._defs = runner.definitions()
            self._config = runner.training_config(self.home, budget=budget, seed=seed)
            months = self.calendar.observations
            # The instance is made here, before any UI starts: two processes that make it at once break its tables.
            with runner.instance() as found:
                orphans.end_orphans(found, daemon_is_down=False)
                if (run := orphans.at_work(found)) is not None:
                    raise BusyError(
                        f"The run {run.run_id} of the daemon is making assets of this home.",
                        mend="Wait until it has ended, or end it in the Dagster UI.",
                    )
                runner.set_observations(found, self.home, months)
            self.work = self._planned(again)
            self._again = again
            count = len(self.work.assets)
            stage.note(f"{len(months)} observation date{'s' * (len(months) > 1)}, {count} assets to make")

    def materialize(self) -> RunOutcome:
        """Make what the plan says, in process; what turns out to have stayed the same is not carried on."""
        from resources import runner

        made: set[str] = set()

        def planned() -> Plan:
            return self._planned(tuple(asset for asset in self._again if asset not in made))

        lines = _AssetLines(self.stages, made)
        with runner.instance() as found:
            return runner.waves(found, self._defs, planned, op_config=self._config, listener=lines)

    def _planned(self, again: tuple[str, ...]) -> Plan:
        from resources import runner

        digests = runner.config_digests(self._config)
        return runner.plan(self.home, self._defs, self.calendar.observations, self.location, digests, again=again)


class _AssetLines:
    """Prints one stage line for each asset that the run makes."""

    def __init__(self, stages: Stages, made: set[str]) -> None:
        self._stages, self._made = stages, made
        self._open: dict[str, tuple[AbstractContextManager[Stage, bool | None], Stage]] = {}

    def __call__(self, event: str, asset: str, text: str, share: float | None) -> None:
        if event == "begin":
            manager: AbstractContextManager[Stage, bool | None] = self._stages.stage(f"asset:{asset}", asset)
            self._open[asset] = (manager, manager.__enter__())
        elif event == "update":
            self._open[asset][1].update(text, share)
        elif event == "end":
            opened, stage = self._open.pop(asset)
            stage.note(text)
            self._made.add(asset)
            opened.__exit__(None, None, None)
        elif event == "fail":
            with suppress(RuntimeError):
                self._open.pop(asset)[0].__exit__(RuntimeError, RuntimeError(asset), None)
