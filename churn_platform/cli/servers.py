"""The servers of a demo: the Dagster UI, the daemon that runs sensors and schedules, and the champion's service."""

from __future__ import annotations

import sys
from pathlib import Path

from churn_platform.cli.supervise import Child, Supervisor, claim_port
from churn_platform.errors import ArtifactMissingError
from churn_platform.records.environ import child_environment
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.settings import CHECKOUT


def start_dagster(supervisor: Supervisor, home: Home, port: int) -> tuple[Child, str]:
    """Start the Dagster UI; it answers some seconds later (see :meth:`Supervisor.wait_until_up`)."""
    port = claim_port(port, "--dagster-port")
    command = str(Path(sys.executable).parent / "dagster-webserver")
    child = supervisor.start(
        "dagster-webserver",
        [command, "-w", str(CHECKOUT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)],
        child_environment(home),
        cwd=CHECKOUT,
    )
    return child, f"http://127.0.0.1:{port}"


def start_daemon(supervisor: Supervisor, home: Home) -> Child:
    """Start the Dagster daemon: sensors, schedules, and the runs that they ask for, one at a time."""
    command = str(Path(sys.executable).parent / "dagster-daemon")
    return supervisor.start(
        "dagster-daemon",
        [command, "run", "-w", str(CHECKOUT / "workspace.yaml")],
        child_environment(home),
        cwd=CHECKOUT,
    )


def start_service(supervisor: Supervisor, home: Home, port: int, *, option: str = "--service-port") -> str:
    """Start the service from the bento that the asset ``champion_bento`` has built, and wait until it is ready.

    Raises:
        ArtifactMissingError: where no bento has been built in this home.
    """
    from resources.bento import service_command

    ref = Refs(home.refs).find("champion_bento")
    if ref is None:
        raise ArtifactMissingError(
            "This home has no champion to serve yet.",
            mend="Run `churn demo --exit` first, or materialize champion_bento.",
        )
    port = claim_port(port, option)
    argv, environment = service_command(home, str(ref["tag"]), port)
    child = supervisor.start("service", argv, environment, scratch=Path(environment["BENTOML_HOME"]))
    url = f"http://127.0.0.1:{port}"
    supervisor.wait_until_up(child, f"{url}/readyz", timeout=90)
    return url
