"""``churn alerts``: what somebody has to know."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer


def alerts(
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the newest to show.")] = 20,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show the newest open alerts: data faults with their feed, runs that have failed.

    One is over when what it is about has been made again, or a later month is whole.

    Example: `churn alerts --all --last 5`
    """
    from rich.markup import escape

    from churn_platform.cli.output import out, print_json
    from churn_platform.monitoring.alerts import alerts as raised
    from churn_platform.records.home import Home

    found = [alert for alert in raised(Home.open()) if every or alert.resolved_at is None][-last:]
    if json:
        print_json({"alerts": [asdict(alert) for alert in found]})
        return
    if not found:
        out.print("No alerts." if every else "No open alerts.")
    for alert in reversed(found):
        over = f" [green](over since {alert.resolved_at})[/]" if alert.resolved_at else ""
        out.print(f"[bold]{alert.raised_at} {alert.severity}[/] {escape(alert.title)}{over}", soft_wrap=True)
        out.print(f"  {alert.detail}", soft_wrap=True, markup=False)
