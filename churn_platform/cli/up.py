"""``churn up``: everything that a home needs to live by itself, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer


def up(
    service_port: Annotated[
        int, typer.Option("--service-port", min=0, max=65535, help="Port of the service; 0 takes a free one.")
    ] = 3000,
    dagster_port: Annotated[
        int, typer.Option("--dagster-port", min=0, max=65535, help="Port of the Dagster UI; 0 takes a free one.")
    ] = 3001,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout when all is up.")] = False,
) -> None:
    """Start the Dagster UI, the daemon and the champion's service of a home that has a champion, and watch them: what
    ends is started again, what leaves is delivered, and Ctrl-C or SIGTERM stops all in order.

    New data is carried on by the daemon's sensors. A home without a champion needs `churn demo` first.

    Example: `churn up --service-port 3000`
    """
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import Stages, err, print_json
    from churn_platform.cli.servers import launch_service, start_dagster, stay_up
    from churn_platform.cli.supervise import Supervisor, claim_port, sweep
    from churn_platform.errors import ConfigurationError
    from churn_platform.records.home import Home
    from churn_platform.records.lock import exclusive

    enter_home()
    home = Home.open()
    if service_port == dagster_port != 0:
        raise ConfigurationError(
            "--service-port and --dagster-port are the same.", mend="Give each its own.", field="dagster-port"
        )
    stages = Stages()
    with exclusive(home.run / "up.lock", "run its servers"):
        sweep(home.root, home.run)
        claim_port(dagster_port, "--dagster-port")
        with Supervisor(home.logs, home.run, "churn up") as supervisor:
            service, service_url = launch_service(supervisor, home, service_port)
            ui, ui_url = start_dagster(supervisor, home, dagster_port)
            with stages.stage("service", "Start the service") as stage:
                supervisor.wait_until_up(service, f"{service_url}/readyz", timeout=120)
                stage.note(service_url)
            with stages.stage("dagster_ui", "Start the Dagster UI") as stage:
                supervisor.wait_until_up(ui, f"{ui_url}/server_info", timeout=120)
                stage.note(ui_url)
            if json:
                print_json({"status": "ok", "urls": {"service": service_url, "dagster": ui_url, "console": None}})
            err.print(
                f"\n  Dagster UI   {ui_url}\n  Service      {service_url}/docs\n\n"
                "`churn status` says how they are, `churn logs` what they say. Ctrl-C stops everything.",
                soft_wrap=True,
            )
            stay_up(supervisor, home)
