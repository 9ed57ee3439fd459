"""The servers of a home: the Dagster UI, the daemon that runs sensors and schedules, the champion's service, and the
worker that delivers what leaves the platform."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from churn_platform.cli.logs import KEPT, LARGEST
from churn_platform.cli.supervise import Child, Supervisor, claim_port, wait_for_stop
from churn_platform.errors import ArtifactMissingError
from churn_platform.records.environ import child_environment
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.settings import CHECKOUT

WORKSPACE = CHECKOUT / "workspace.yaml"


def start_dagster(supervisor: Supervisor, home: Home, port: int) -> tuple[Child, str]:
    """Start the Dagster UI; it answers some seconds later (see :meth:`Supervisor.wait_until_up`)."""
    port = claim_port(port, "--dagster-port")
    command = str(Path(sys.executable).parent / "dagster-webserver")
    child = supervisor.start(
        "dagster-webserver",
        [command, "-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(port)],
        child_environment(home),
        cwd=CHECKOUT,
    )
    return child, f"http://127.0.0.1:{port}"


def start_daemon(supervisor: Supervisor, home: Home) -> Child:
    """Start the Dagster daemon: sensors, schedules, and the runs that they ask for, one at a time.

    It first ends the runs that a daemon or command that was killed has left as running.
    """
    return supervisor.start(
        "dagster-daemon",
        [sys.executable, "-m", "resources.daemon", "run", "-w", str(WORKSPACE)],
        child_environment(home),
        cwd=CHECKOUT,
    )


def launch_service(
    supervisor: Supervisor, home: Home, port: int, *, option: str = "--service-port"
) -> tuple[Child, str]:
    """Start the service from the bento that the asset ``champion_bento`` has built; it is ready some seconds later.

    Started again, it is the newest bento that is served.

    Raises:
        ArtifactMissingError: where no bento has been built in this home.
    """
    from resources.bento import service_command

    def command() -> tuple[Sequence[str], Mapping[str, str]]:
        ref = Refs(home.refs).find("champion_bento")
        if ref is None:
            raise ArtifactMissingError(
                "This home has no champion to serve yet.",
                mend="Run `churn demo --exit` first, or materialize champion_bento.",
            )
        return service_command(home, str(ref["tag"]), port)

    if Refs(home.refs).find("champion_bento") is not None:
        port = claim_port(port, option)
    argv, environment = command()
    scratch = Path(environment["BENTOML_HOME"])
    child = supervisor.start("service", argv, environment, scratch=scratch, again=command)
    return child, f"http://127.0.0.1:{port}"


def start_service(supervisor: Supervisor, home: Home, port: int, *, option: str = "--service-port") -> str:
    """Start the service (:func:`launch_service`) and wait until it is ready; returns its URL."""
    child, url = launch_service(supervisor, home, port, option=option)
    supervisor.wait_until_up(child, f"{url}/readyz", timeout=90)
    return url


@contextmanager
def delivering(home: Home) -> Iterator[None]:
    """Deliver what leaves the platform, in a thread; what it has done stands in ``outlets.log``.

    What is not delivered when this process ends stays in the outbox and is delivered by the next one.
    """
    from churn_platform.outlets.deliver import Deliverer

    handler = RotatingFileHandler(home.logs / "outlets.log", maxBytes=LARGEST, backupCount=KEPT, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("churn_platform.outlets")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    stop = threading.Event()
    worker = threading.Thread(target=Deliverer(home).run, args=(stop,), name="outlets", daemon=True)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join(timeout=5)
        log.removeHandler(handler)
        handler.close()


def stay_up(supervisor: Supervisor, home: Home) -> None:
    """Start the daemon, deliver what leaves, and watch everything until Ctrl-C or SIGTERM."""
    start_daemon(supervisor, home)
    with delivering(home):
        wait_for_stop(supervisor)
