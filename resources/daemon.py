"""The Dagster daemon, after what the one before it has left is in order: ``python -m resources.daemon run -w …``."""

import sys
from importlib.metadata import entry_points

from resources.orphans import end_orphans
from resources.runner import instance


def main() -> None:
    """End the runs that a killed daemon or command has left as running, then be the daemon."""
    with instance() as found:
        for run_id in end_orphans(found, daemon_is_down=True):
            sys.stderr.write(f"run {run_id} was left by a process that is gone, and is closed\n")
    (daemon,) = entry_points(group="console_scripts", name="dagster-daemon")
    sys.argv[0] = "dagster-daemon"
    daemon.load()()


if __name__ == "__main__":
    main()
