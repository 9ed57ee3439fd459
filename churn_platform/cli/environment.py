"""``churn env``: point dagster, feast, mlflow and bentoml of this shell at the same home."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from churn_platform import settings


def use_home(path: Path) -> None:
    """Let this process and its children use ``path`` as CHURN_HOME."""
    os.environ["CHURN_HOME"] = str(path.resolve())
    settings.reload()


def variables() -> dict[str, str]:
    """What points the tools at this home, with the present of its data where that is not the wall clock."""
    from churn_platform.records.environ import path_with_tools, prepare_dagster_home, tool_variables
    from churn_platform.records.home import Home
    from churn_platform.sources import present

    home = Home.open()
    prepare_dagster_home(home)
    found = {**tool_variables(home), "PATH": path_with_tools()}
    return found | present.variables(home, settings.settings().problem)


def enter_home() -> None:
    """Set these variables in this process, so that libraries called in it, and its children, use the same home."""
    from churn_platform.records.home import Home
    from churn_platform.sources import present

    os.environ.update(variables())
    present.follow(Home.open(), settings.settings().problem)
    settings.reload()


def env(
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of export lines.")] = False,
) -> None:
    """Print the variables that point dagster, feast, mlflow and bentoml at this home.

    Example: `eval "$(churn env)"; feast -c feature_repo feature-views list`
    """
    from churn_platform.cli.output import print_json

    found = variables()
    if json:
        print_json(found)
        return
    for name, value in found.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
