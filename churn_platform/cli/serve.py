"""``churn serve``: the champion's service alone, from the bento that is there."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on the loopback address; 0 takes a free one.")
    ] = 3000,
) -> None:
    """Serve the champion of this home until Ctrl-C.

    Example: `churn serve --port 3000`
    """
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import err
    from churn_platform.cli.servers import start_service
    from churn_platform.cli.supervise import Supervisor, wait_for_stop
    from churn_platform.records.home import Home

    enter_home()
    home = Home.open()
    with Supervisor(home.logs, home.run, "churn serve") as supervisor:
        url = start_service(supervisor, home, port, option="--port")
        err.print(f"The champion answers at [bold]{url}[/] (docs at {url}/docs). Ctrl-C stops it.", soft_wrap=True)
        wait_for_stop(supervisor)
