"""``churn env``: point dagster, feast, mlflow and bentoml of this shell at the same home."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from churn_platform import settings

FROM_HOME = "CHURN_AS_OF_FROM_HOME"
"""Holds the value of CHURN_AS_OF where that came from a home: a value of the user's own is left alone."""


def use_home(path: Path) -> None:
    """Let this process and its children use ``path`` as CHURN_HOME."""
    os.environ["CHURN_HOME"] = str(path.resolve())
    settings.reload()


def variables() -> dict[str, str]:
    """What points the tools at this home, with the present of its data where that is not the wall clock."""
    from churn_platform.records.environ import path_with_tools, prepare_dagster_home, tool_variables
    from churn_platform.records.home import Home
    from churn_platform.sources.location import find_location

    home = Home.open()
    prepare_dagster_home(home)
    found = {**tool_variables(home), "PATH": path_with_tools()}
    location = find_location(home, settings.settings().problem)
    if _is_ours() and location is not None and location.as_of is not None:
        found["CHURN_AS_OF"] = found[FROM_HOME] = location.as_of.isoformat()
    return found


def _is_ours() -> bool:
    """Whether CHURN_AS_OF may follow the home: it is not set, or was set from a home and not by the user."""
    return "CHURN_AS_OF" not in os.environ or os.environ.get(FROM_HOME) == os.environ["CHURN_AS_OF"]


def enter_home() -> None:
    """Set these variables in this process, so that libraries called in it, and its children, use the same home."""
    found = variables()
    if _is_ours() and "CHURN_AS_OF" not in found:  # the data is live now
        os.environ.pop("CHURN_AS_OF", None)
        os.environ.pop(FROM_HOME, None)
    os.environ.update(found)
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
