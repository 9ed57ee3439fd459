"""Process-wide defaults that must be set before the heavy libraries are first imported."""

from __future__ import annotations

import os

# Every telemetry is off unless the user has set the variable. The spellings differ: each library takes its own.
TELEMETRY_OFF = {
    "BENTOML_DO_NOT_TRACK": "true",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",
    "EVIDENTLY_DISABLE_TELEMETRY": "1",
    "FEAST_USAGE": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# Waiting OpenMP threads that spin cost up to three times the time on busy cores.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "NUMBA_SLP_VECTORIZE": "1"}


def prepare() -> None:
    """Set the defaults in ``os.environ``; what the user has set stays."""
    for name, value in {**TELEMETRY_OFF, **THREADS}.items():
        os.environ.setdefault(name, value)
