"""One DuckDB connection of bounded memory, whose temporary files go when it closes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from churn_platform.records.leftovers import SCRATCH, sweep, sweep_system
from churn_platform.records.owner import scratch
from churn_platform.settings import settings

if TYPE_CHECKING:
    import duckdb

KIND = "door"


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def engine(tmp: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB with ``settings().threads`` and ``settings().memory_limit``; it spills to a folder below
    ``tmp``.

    Folders that a killed process has left there are removed first: spilled rows may hold what the door takes
    out.

    Args:
        tmp: ``home.tmp``; the system's temporary folder by default.
    """
    import duckdb

    if tmp is not None:
        sweep(tmp, SCRATCH)
    else:
        sweep_system()
    folder = scratch(KIND, tmp)
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"SET threads = {settings().threads}")
            connection.execute(f"SET memory_limit = {literal(settings().memory_limit)}")
            connection.execute(f"SET temp_directory = {literal(str(folder))}")
            connection.execute("SET autoinstall_known_extensions = false")
            connection.execute("SET preserve_insertion_order = false")
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
    finally:
        shutil.rmtree(folder, ignore_errors=True)
