"""``churn doctor``: what is wrong with this machine or home, and how to mend it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from churn_platform.cli.finding import Finding, look
from churn_platform.errors import ChurnError


def doctor(
    service_port: Annotated[
        int, typer.Option("--service-port", min=0, max=65535, help="The port that the service is to have.")
    ] = 3000,
    dagster_port: Annotated[
        int, typer.Option("--dagster-port", min=0, max=65535, help="The port that the Dagster UI is to have.")
    ] = 3001,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Look at the machine, the home and what runs in it; exit code 1 where something must be mended.

    Example: `churn doctor`
    """
    from rich.markup import escape

    from churn_platform.cli.output import err, out, print_json

    findings = examine(service_port, dagster_port)
    ok = all(finding.ok for finding in findings)
    if json:
        print_json({"ok": ok, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = "[green]ok  [/]" if finding.ok else "[red]mend[/]"
            text = f"{finding.says} {finding.mend}".rstrip()
            out.print(f"  {mark} {finding.name:<16} {escape(text)}", soft_wrap=True)
    if not ok:
        err.print("[red]Something must be mended.[/]")
        sys.exit(1)


def examine(service_port: int, dagster_port: int) -> list[Finding]:
    """All findings: of the machine, and where the home can be opened, of the home and of its Dagster instance."""
    from churn_platform.cli import doctor_dagster, doctor_home, doctor_machine
    from churn_platform.cli.environment import enter_home
    from churn_platform.records.home import Home

    found = look(doctor_machine.checks())
    try:
        enter_home()
        home = Home.open()
    except ChurnError as error:
        name = "database" if error.field == "database_url" else "CHURN_HOME"
        return [*found, Finding(name, False, error.message, error.mend)]
    found.append(Finding("CHURN_HOME", True, str(home.root)))
    ports = {"--service-port": service_port, "--dagster-port": dagster_port}
    return [*found, *look(doctor_home.checks(home, ports)), *look(doctor_dagster.checks(home))]
