"""``churn doctor``: what is wrong with this machine or home, and how to mend it."""

from __future__ import annotations

import ctypes.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from churn_platform.errors import ChurnError

NEEDED_GIB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    says: str
    mend: str = ""


def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Look at the machine and the home; exit code 1 where something must be mended.

    Example: `churn doctor`
    """
    from churn_platform.cli.output import err, out, print_json

    findings = [check() for check in CHECKS]
    if json:
        print_json({"ok": all(f.ok for f in findings), "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            mark = "[green]ok  [/]" if finding.ok else "[red]mend[/]"
            out.print(f"  {mark} {finding.name:<16} {finding.says} {finding.mend}".rstrip(), soft_wrap=True)
    if not all(finding.ok for finding in findings):
        err.print("[red]Something must be mended.[/]")
        sys.exit(1)


def _python() -> Finding:
    found = sys.version_info
    return Finding(
        "Python",
        found[:2] == (3, 11),
        f"{found.major}.{found.minor}.{found.micro}",
        ""
        if found[:2] == (3, 11)
        else "This platform is tested with 3.11 only: make the environment with it (`make setup`).",
    )


def _openmp() -> Finding:
    there = sys.platform != "linux" or ctypes.util.find_library("gomp") is not None
    return Finding(
        "libgomp",
        there,
        "found" if there else "missing: LightGBM and XGBoost need it.",
        "" if there else "apt-get install libgomp1 (Debian, Ubuntu) or dnf install libgomp (Fedora).",
    )


def _home() -> Finding:
    from churn_platform.records.home import Home

    try:
        return Finding("CHURN_HOME", True, str(Home.open().root))
    except ChurnError as error:
        return Finding("CHURN_HOME", False, error.message, error.mend)


def _space() -> Finding:
    from churn_platform.settings import settings

    place = settings().home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    return Finding(
        "disk",
        free >= NEEDED_GIB,
        f"{free:.1f} GiB free",
        "" if free >= NEEDED_GIB else f"At least {NEEDED_GIB:.0f} GiB are needed: free some space.",
    )


def _database() -> Finding:
    from churn_platform.records.database import reach
    from churn_platform.records.home import Home

    try:
        reached = reach(Home.open())
    except ChurnError as error:
        return Finding("database", False, error.message, error.mend)
    if reached is None:
        return Finding("database", True, "SQLite, below CHURN_HOME")
    return Finding("database", True, f"{reached.place}, PostgreSQL {reached.version}")


def _source() -> Finding:
    from churn_platform.records.home import Home
    from churn_platform.settings import settings
    from churn_platform.sources.location import load_location

    try:
        found = load_location(Home.open(), settings().problem)
    except ChurnError as error:
        return Finding("source", False, error.message, error.mend)
    return Finding("source", True, f"{found.contract.shape}, {len(found.contract.tables)} tables")


def _champion() -> Finding:
    from churn_platform.records.home import Home
    from churn_platform.records.refs import Refs
    from churn_platform.records.store import ContentStore

    try:
        home = Home.open()
        ref = Refs(home.refs).get("champion")
        ContentStore(home.store).verify(ref["package"])
    except ChurnError as error:
        return Finding("champion", False, error.message, "Run `churn demo --exit`.")
    return Finding("champion", True, f"{ref['name']} version {ref['version']}, {str(ref['model'])[:12]}")


CHECKS: tuple[Callable[[], Finding], ...] = (_python, _openmp, _home, _space, _database, _source, _champion)
