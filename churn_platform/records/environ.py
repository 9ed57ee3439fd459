"""The environment variables that point the tools around us (Dagster, Feast, MLflow, BentoML) at one CHURN_HOME."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from churn_platform._environment import TELEMETRY_OFF, THREADS
from churn_platform.records.database import configured, prepare, url_of
from churn_platform.records.files import write_atomic
from churn_platform.records.home import Home
from churn_platform.records.libpq import parts
from churn_platform.settings import CHECKOUT, settings


def tool_variables(home: Home) -> dict[str, str]:
    """What ``churn env`` exports: the same for a shell, for ``churn demo`` and for the servers that it starts."""
    dagster = home.dagster
    return {
        "CHURN_HOME": str(home.root),
        "DAGSTER_HOME": str(dagster),
        "DAGSTER_STORAGE_DIR": str(dagster / "storage"),
        "DAGSTER_COMPUTE_LOG_DIR": str(home.logs / "dagster"),
        "BENTOML_HOME": str(home.bentoml),
        "MLFLOW_TRACKING_URI": url_of("mlflow", home),
        "FEAST_REGISTRY_URL": url_of("feast", home),
        **({"DAGSTER_DATABASE_URL": url_of("dagster", home)} if configured() is not None else {}),
        **_feast_history(),
        "NUMBA_CACHE_DIR": str(home.tmp / "numba"),
        **TELEMETRY_OFF,
        **THREADS,
    }


def _feast_history() -> dict[str, str]:
    """Where Feast's history is in PostgreSQL, as ``feature_repo/feature_store.postgres.yaml`` asks for it."""
    url = configured()
    if url is None or settings().offline_store != "postgres":
        return {}
    return {f"FEAST_OFFLINE_{name.upper()}": value for name, value in parts(url).items()}


def child_environment(home: Home) -> dict[str, str]:
    """The whole environment for a server of ours: this process's, the variables above, and our interpreter first."""
    return {**os.environ, **tool_variables(home), "PATH": path_with_tools()}


def path_with_tools() -> str:
    """``PATH`` with the folder of this interpreter's commands (dagster, feast, bentoml, churn) in front."""
    tools = str(Path(sys.executable).parent)
    present = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join([tools, *[part for part in present if part and part != tools]])


def prepare_dagster_home(home: Home) -> None:
    """Copy the checkout's dagster.yaml into ``$DAGSTER_HOME``: Dagster reads it from there and nowhere else.

    With PostgreSQL it is that of ``deploy/dagster.production``.

    Raises:
        RecordError: the database of ``CHURN_DATABASE_URL`` cannot be used.
    """
    prepare()
    folder = CHECKOUT if configured() is None else CHECKOUT / "deploy" / "dagster.production"
    source = (folder / "dagster.yaml").read_bytes()
    target = home.dagster / "dagster.yaml"
    if not target.is_file() or target.read_bytes() != source:
        write_atomic(target, source)
