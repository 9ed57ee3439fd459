"""What the commands print: results on stdout, progress and errors on stderr, one JSON object where a program asks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from churn_platform.errors import ChurnError, DataFaultError

# A file or pipe has no width of its own; 80 columns would break every table.
_PLAIN_WIDTH = 150
err = Console(stderr=True, highlight=False)
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout, for programs."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


def print_error(error: ChurnError) -> None:
    """One paragraph: what is wrong, an example where there is one, and the mend."""
    text = error.message
    if isinstance(error, DataFaultError) and error.examples:
        text += f" For example: {', '.join(error.examples)}."
    err.print(f"[bold red]Error:[/] {escape(text)} {escape(error.mend)}".rstrip(), soft_wrap=True)


class Stages:
    """Named stages with their seconds; each prints a line when it starts and when it is done.

    ``quiet`` prints nothing (tests). The seconds are kept in ``self.seconds`` by name.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self._quiet = quiet
        self._live = err.is_terminal and not quiet

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[Stage]:
        """Time one stage. A stage that is entered again adds to its seconds."""
        stage = Stage(title, live=self._live, quiet=self._quiet)
        started = time.perf_counter()
        stage.begin()
        try:
            yield stage
        except BaseException as error:
            stage.end(time.perf_counter() - started, "stopped" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        spent = time.perf_counter() - started
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
        stage.end(spent)


class Stage:
    """One stage's progress: a status line on a terminal, plain lines elsewhere."""

    def __init__(self, title: str, *, live: bool, quiet: bool) -> None:
        self._title, self._quiet, self._note = title, quiet, ""
        self._status = err.status(f"{title} …") if live else None

    def begin(self) -> None:
        if self._status is not None:
            self._status.start()

    def update(self, text: str, share: float | None = None) -> None:
        """Say how far the stage is; ``share`` in [0, 1]."""
        if self._status is not None:
            done = f" {share:.0%}" if share is not None else ""
            self._status.update(f"{self._title} … {escape(text)}{done}")

    def note(self, text: str) -> None:
        """A fact for the line that closes the stage."""
        self._note = text

    def end(self, seconds: float, how: str = "done") -> None:
        if self._status is not None:
            self._status.stop()
        if not self._quiet:
            mark = f"[{'green' if how == 'done' else 'red'}]{how}[/]"
            note = f"  [dim]{escape(self._note)}[/]" if self._note else ""
            err.print(f"  {mark} {self._title:<44} {seconds:6.1f} s{note}", soft_wrap=True)
