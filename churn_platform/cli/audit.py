"""``churn audit``: what an auditor asks, answered from the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from churn_platform.champion.registry import RegisteredModel
    from churn_platform.records.home import Home

app = typer.Typer(no_args_is_help=True, help="Questions of an auditor, answered from the records.")


@app.callback()
def group() -> None:
    """Questions of an auditor, answered from the records."""


@app.command("why")
def why(
    asked: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTION_ID",
            help="The prediction_id of an answer; or a model's version, 8 or more digits of its digest, or champion.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Say which data, code, parameters, approvals and report led to the model that served a prediction.

    Exit code 1 where a record is missing or Dagster's events contradict it; what was found is shown all the same.

    Example: `churn audit why 019a3c1e-6f0b-7c52-9d4e-2f1f6f0a7b11`
    """
    import sys

    from churn_platform.cli.audit_page import page
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import out, print_json
    from churn_platform.governance.why import model_of
    from churn_platform.governance.why import why as answer
    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

    enter_home()
    home = Home.open()
    registered, doubts = _registered(home, model_of(home, asked))
    value = answer(home, ContentStore(home.store), asked, registered).to_json()
    value["missing"] = [*value["missing"], *doubts]
    _add_dagster(value)
    _add_key(home, value)
    if json:
        print_json(value)
    else:
        out.print(page(value))
    if value["missing"]:
        sys.exit(1)


def _registered(home: Home, model: str) -> tuple[RegisteredModel | None, list[str]]:
    from churn_platform.champion.registry import ModelRegistry
    from churn_platform.records.database import mlflow_tables_exist
    from churn_platform.settings import settings

    found = ModelRegistry(home, settings().problem).find_version(model) if mlflow_tables_exist(home) else None
    return found, [] if found is not None else [f"the model registry has no version of the model {model[:12]}"]


def _add_dagster(value: dict[str, Any]) -> None:
    """Put the runs in place of their ids, and hold Dagster's events against the lineage."""
    from resources import runner
    from resources.audit import event_of, run_facts

    with runner.instance() as found:
        value["runs"] = run_facts(found, value["runs"])
        gone = [run["run_id"] for run in value["runs"] if not run["known"]]
        value["missing"] += [f"Dagster has no record of the run {run} any more" for run in gone]
        for step in value["steps"]:
            step["in_dagster"] = event_of(found, step["asset"], step["digest"], step["run_id"])
            if step["in_dagster"] is False:
                value["missing"].append(
                    f"Dagster's events of the run {step['run_id']} do not name this {step['asset']}"
                )


def _add_key(home: Home, value: dict[str, Any]) -> None:
    from churn_platform.identity.keys import ApiKeys

    if (event := value["prediction"]) is None:
        return
    key = next((one for one in ApiKeys.open(home).list() if one.key_id == event["key_id"]), None)
    event["key"] = {"name": key.name, "role": str(key.role), "state": key.state} if key is not None else None
