"""``churn logs``: what the servers of a home have said, in one place."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

LARGEST: Final = 10 * 2**20
KEPT: Final = 3
SUPERVISOR: Final = "supervisor"


def rotate(log: Path, *, largest: int = LARGEST, kept: int = KEPT) -> bool:
    """Move a log that has grown too large aside, to ``<name>.1``; earlier ones move on, the oldest goes.

    The program goes on writing to the same file, so that is copied and emptied: lines that are written in between, some
    milliseconds, are lost.
    """
    try:
        if log.stat().st_size <= largest:
            return False
    except FileNotFoundError:
        return False
    # Copied before anything is moved: where the disk is full, the earlier ones stay.
    copy = log.with_name(f"{log.name}.new")
    try:
        shutil.copyfile(log, copy)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    for number in range(kept, 1, -1):
        earlier = log.with_name(f"{log.name}.{number - 1}")
        if earlier.exists():
            earlier.replace(log.with_name(f"{log.name}.{number}"))
    copy.replace(log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
    return True


def note(logs: Path, text: str) -> None:
    """A line in the supervisor's own log."""
    from churn_platform import clock

    file = logs / f"{SUPERVISOR}.log"
    rotate(file)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{clock.wall().isoformat(timespec='seconds')} {text}\n")


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log."""
    block, found = 8192, b""
    with log.open("rb") as file:
        place = file.seek(0, os.SEEK_END)
        while place > 0 and found.count(b"\n") <= lines:
            step = min(block, place)
            place -= step
            file.seek(place)
            found = file.read(step) + found
    return found.decode(errors="replace").splitlines()[-lines:] if lines else []


def follow(logs: list[Path]) -> Iterator[tuple[Path, str]]:
    """New lines of several logs, for ever; a log that was rotated goes on from its beginning."""
    places = {log: log.stat().st_size for log in logs}
    rest = dict.fromkeys(logs, b"")
    while True:
        quiet = True
        for log in logs:
            try:
                size = log.stat().st_size
                places[log] = 0 if size < places[log] else places[log]
                if size == places[log]:
                    continue
                with log.open("rb") as file:
                    file.seek(places[log])
                    found = rest[log] + file.read()
                    places[log] = file.tell()
            except FileNotFoundError:
                continue
            quiet = False
            *lines, rest[log] = found.split(b"\n")
            for line in lines:
                yield log, line.decode(errors="replace")
        if quiet:
            time.sleep(0.2)


def logs(
    name: Annotated[
        str | None,
        typer.Argument(help="dagster-webserver, dagster-daemon, service, outlets or supervisor; default all."),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", min=0, help="How many of the last lines of each.")] = 20,
    follow_on: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Show what the servers of this home have said.

    Example: `churn logs service --lines 50 --follow`
    """
    from churn_platform.errors import NotFoundError
    from churn_platform.records.home import Home

    folder = Home.open().logs
    there = sorted(folder.glob("*.log"))
    chosen = [log for log in there if name in (None, log.stem)]
    if not chosen:
        names = ", ".join(log.stem for log in there)
        raise NotFoundError(
            f"There is no log {name!r}." if name else "There are no logs yet.",
            mend=f"Give one of {names}." if names else "Start the servers with `churn up`.",
            field="name",
        )
    width = max(len(log.stem) for log in chosen)

    def show(log: Path, line: str) -> None:
        typer.echo(line if name else f"{log.stem:<{width}} | {line}")

    for log in chosen:
        for line in tail(log, lines):
            show(log, line)
    if follow_on:
        for log, line in follow(chosen):
            show(log, line)
