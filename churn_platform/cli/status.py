"""``churn status``: what runs in this home, and whether it answers."""

from __future__ import annotations

import json as jsontext
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

STARTING_SECONDS = 60.0


@dataclass(frozen=True)
class Program:
    """One program of a supervisor.

    Attributes:
        state: ``up`` (it runs, and answers where it is a server), ``silent`` (it runs and does not answer),
            ``starting`` (it runs and has not answered yet), or ``down`` (it has ended; it is started again).
        seconds: since its start.
    """

    name: str
    by: str
    state: str
    pid: int | None
    url: str | None
    seconds: float | None
    restarts: int
    said: str
    log: str


def programs(run: Path) -> list[Program]:
    """The programs of all supervisors of a home that are alive."""
    from churn_platform.records.alive import is_alive

    found: list[Program] = []
    for file in sorted(run.glob("supervisor-*.json")):
        try:
            told: dict[str, Any] = jsontext.loads(file.read_bytes())
            if not is_alive(int(told["pid"]), float(told["started"])):
                continue
        except (ValueError, KeyError, OSError):
            continue
        found += [_program(str(told["what"]), child) for child in told["children"]]
    return found


def _program(by: str, child: dict[str, Any]) -> Program:
    import psutil

    from churn_platform.cli.supervise import answers

    pid, url = child["pid"], child["url"]
    if pid is None or not psutil.pid_exists(pid):
        state = "down"
    elif url is None:
        # The daemon is no server; a server that has never answered is on its way.
        state = "up" if child["name"] == "dagster-daemon" else "starting"
    else:
        state = "up" if answers(url, timeout=5.0) else "silent"
    seconds = round(time.time() - child["up_since"], 1) if child["up_since"] else None
    if state == "silent" and child["restarts"] and seconds is not None and seconds < STARTING_SECONDS:
        state = "starting"
    return Program(child["name"], by, state, pid, url, seconds, child["restarts"], child["said"], child["log"])


def status(
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show what runs in this home and whether it answers; exit code 1 where nothing runs or something does not.

    Example: `churn status`
    """
    from rich.markup import escape
    from rich.table import Table

    from churn_platform.cli.output import err, out, print_json
    from churn_platform.outlets.outbox import Outbox
    from churn_platform.records.home import Home

    home = Home.open()
    found = programs(home.run)
    well = bool(found) and all(program.state == "up" for program in found)
    counts: dict[str, int] = {"waiting": 0, "dead": 0}
    for states in Outbox.open(home).counts().values():
        for state in counts:
            counts[state] += states.get(state, 0)
    if json:
        print_json({"ok": well, "programs": [asdict(program) for program in found], "deliveries": counts})
    elif not found:
        err.print("Nothing runs in this home; `churn up` starts its servers.")
    else:
        table = Table("program", "state", "pid", "for", "restarts", "address", "last words", box=None)
        for program in found:
            colour = {"up": "green", "starting": "yellow"}.get(program.state, "red")
            table.add_row(
                program.name,
                f"[{colour}]{program.state}[/]",
                str(program.pid or "-"),
                _spoken(program.seconds),
                str(program.restarts),
                program.url or "-",
                escape(program.said or "-"),
            )
        out.print(table)
    if not json and (found or any(counts.values())):
        more = "; `churn outlets dead` says why" if counts["dead"] else ""
        out.print(f"[dim]Deliveries: {counts['waiting']} waiting, {counts['dead']} given up{more}.[/]")
    if not well:
        sys.exit(1)


def _spoken(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
