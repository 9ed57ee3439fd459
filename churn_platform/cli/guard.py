"""Outlives the command that started it by seconds: ends what that has left when it is killed.

The kernel tells the programs of a killed command to end (processes.die_with_parent), but not the programs that those
have started, and one that is told may be busy. This one holds the end of a pipe; when the pipe closes without a word,
its parent was killed, and everything that carries the parent's mark is ended.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Self

import psutil

from churn_platform.cli.processes import TOKEN, end_all, marked
from churn_platform.records.alive import token_is_alive

PATIENCE = 3.0
BYE = b"bye"


class Guard:
    """The command's side: a context that ends in order, or not at all."""

    def __init__(self, token: str) -> None:
        read, self._write = os.pipe()
        try:
            # Without the mark: it must not end itself, and a second guard must not end it.
            env = {name: value for name, value in os.environ.items() if name != TOKEN}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "churn_platform.cli.guard", token, str(read)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(read,),
                start_new_session=True,
            )
        finally:
            os.close(read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            os.write(self._write, BYE)
        os.close(self._write)
        self._process.wait()


def main() -> None:
    """Wait for the pipe to close, then end whoever is left."""
    token, read = sys.argv[1], int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A forked child of the parent may hold the pipe open: the parent itself is looked at, too.
    while token_is_alive(token):
        if select.select([read], [], [], 0.5)[0]:
            if os.read(read, len(BYE)) == BYE:
                return
            break
    # The kernel has told the first row already; give it time to end its own children in order.
    psutil.wait_procs([process for process, _ in marked(TOKEN, token)], timeout=PATIENCE)
    for _ in range(3):  # one that was being started may come late
        left = [process for process, _ in marked(TOKEN, token)]
        if not left:
            return
        end_all(left, patience=1.0)


if __name__ == "__main__":
    main()
