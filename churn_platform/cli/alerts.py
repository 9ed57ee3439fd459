"""``churn alerts``: what somebody has to know."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer


def alerts(
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the newest to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show the newest alerts: data faults with their feed, runs that have failed.

    Example: `churn alerts --last 5`
    """
    from rich.markup import escape

    from churn_platform.cli.output import out, print_json
    from churn_platform.monitoring.alerts import alerts as raised
    from churn_platform.records.home import Home

    found = raised(Home.open())[-last:]
    if json:
        print_json({"alerts": [asdict(alert) for alert in found]})
        return
    if not found:
        out.print("No alerts.")
    for alert in reversed(found):
        out.print(f"[bold]{alert.raised_at} {alert.severity}[/] {escape(alert.title)}", soft_wrap=True)
        out.print(f"  {alert.detail}", soft_wrap=True, markup=False)
