"""How a built bento is served: the command and the environment of its process."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from bentos.churn_service.build import NAME
from churn_platform.errors import ArtifactMissingError
from churn_platform.records.environ import child_environment
from churn_platform.records.files import remove
from churn_platform.records.home import Home

HOST: Final = "127.0.0.1"
# A bento in a container never restarts a worker that was killed.
_UNWANTED: Final = ("BENTOML_CONTAINERIZED", "BENTOML_CONFIG_OPTIONS", "BENTOML_PORT", "BENTOML_HOST")


def bento_path(home: Home, tag: str) -> Path:
    """The folder of a bento in the home's store.

    Raises:
        ArtifactMissingError: there is no such bento.
    """
    name, _, version = tag.partition(":")
    path = home.bentoml / "bentos" / name / version
    if name != NAME or not re.fullmatch(r"[a-z0-9]+", version) or not (path / "bento.yaml").is_file():
        raise ArtifactMissingError(
            f"There is no bento {tag!r} in this home.",
            mend="Materialize the asset champion_bento, or run `churn demo`.",
            field="tag",
        )
    return path


def serve_command(
    home: Home,
    tag: str,
    port: int,
    *,
    workers: int = 1,
    host: str = HOST,
) -> tuple[list[str], dict[str, str]]:
    """The command that serves a bento, and its whole environment.

    Args:
        tag: ``churn_service:<version>``, as :func:`bentos.churn_service.build.build_bento` returns it.
        port: a port that is free; 0 is not resolved here.
        workers: processes that answer, at most one per core.
        host: an address to listen on; only this machine by default.

    Ready when ``GET /readyz`` answers 200. SIGTERM to the process ends it and its workers in order.

    Raises:
        ArtifactMissingError: there is no such bento.
    """
    path = bento_path(home, tag)
    command = [sys.executable, "-m", "bentoml", "serve", str(path), "--host", host, "--port", str(port)]
    # Two services that share a BENTOML_HOME wipe each other's metrics: each gets a folder of its own.
    private = home.run / f"bentoml-{port}"
    remove(private)
    private.mkdir(mode=0o700)
    env = {name: value for name, value in child_environment(home).items() if name not in _UNWANTED}
    env |= {"BENTOML_HOME": str(private), "CHURN_SERVICE_WORKERS": str(workers)}
    # The bento's own code must answer, not that of the folder the command is started from.
    env.pop("PYTHONPATH", None)
    return command, env
