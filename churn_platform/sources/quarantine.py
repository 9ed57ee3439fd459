"""Rows that broke a rule, kept apart with the reason: by pseudonym and row hash, never by the company's
id."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.records.files import remove, temporary_name
from churn_platform.sources.duplicates import CONFLICTS
from churn_platform.sources.engine import engine, literal
from churn_platform.sources.rules import BITS, broken
from churn_platform.sources.staging import Plan

if TYPE_CHECKING:
    import duckdb

    from churn_platform.records.home import Home

HELD = "held"
UNIQUE = "unique"


def hold(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> int:
    """Copy what broke a rule into the table ``held`` and take the rows that may not pass out of the staged
    one.

    Returns:
        How many rows were taken out.
    """
    reasons = ", ".join(
        f"CASE WHEN (f{i // BITS} >> {i % BITS}) & 1 = 1 THEN {literal(f'{rule.column} {rule.sentence}')} END"
        for i, rule in enumerate(plan.rules)
        if rule.effect != "note"
    )
    row, value = broken(plan.rules, ("row",)), broken(plan.rules, ("value",))
    connection.execute(
        f"CREATE OR REPLACE TABLE {HELD} AS SELECT customer_id, rid, event, known, "
        f"CASE WHEN {row} THEN 'row held back' ELSE 'value blanked' END AS effect, "
        f"concat_ws('; ', {reasons or 'NULL'}) AS reason FROM {staged} WHERE ({row}) OR ({value})"
    )
    taken = connection.execute(f"SELECT count(*) FROM {HELD} WHERE effect = 'row held back'").fetchone()
    if taken and taken[0]:
        connection.execute(f"DELETE FROM {staged} WHERE {row}")
    return int(taken[0]) if taken else 0


def write(connection: duckdb.DuckDBPyConnection, plan: Plan, home: Home) -> Path | None:
    """Write what is held, and what contradicts itself, to ``home.quarantine/<table>/<digest>.parquet``.

    Columns: ``customer_id`` (pseudonym, NULL where there is none), ``row_id``, ``event_time``,
    ``ingested_at``, ``effect``, ``reason``. The same faults give the same file.

    Returns:
        The file, or None where nothing is held.
    """
    key = " + ".join(plan.table.key) or plan.table.entity or "row"
    reason = literal(f"{key} must be unique: another row with this key says something else")
    rows = (
        f"SELECT * FROM {HELD} UNION ALL BY NAME "
        f"SELECT *, 'row held back' AS effect, {reason} AS reason FROM {CONFLICTS}"
    )
    count = connection.execute(f"SELECT count(*) FROM ({rows})").fetchone()
    if not count or not count[0]:
        return None
    folder = home.quarantine / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    written = temporary_name(folder)
    try:
        connection.execute(
            "COPY (SELECT customer_id, lpad(lower(hex(rid)), 16, '0') AS row_id, event AS event_time, "
            f"known AS ingested_at, effect, reason FROM ({rows}) ORDER BY ALL) TO {literal(str(written))} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        with written.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return written.replace(folder / f"{digest}.parquet")
    finally:
        remove(written)


@dataclass(frozen=True)
class Held:
    """What the newest load that held rows back has held of one table, for one reason.

    Args:
        rows: how many rows, or values.
        effect: ``row held back`` or ``value blanked``.
        examples: a few of them: ``customer_id`` (pseudonym), ``row_id``, ``event_time``, ``ingested_at``.
        file: where all of them lie.
    """

    table: str
    reason: str
    effect: str
    rows: int
    examples: tuple[dict[str, str | None], ...]
    file: Path

    def to_json(self) -> dict[str, Any]:
        """For programs: pseudonyms only."""
        return {**asdict(self), "file": str(self.file), "examples": list(self.examples)}


def held_tables(home: Home) -> list[str]:
    """The tables of which something is held."""
    return sorted(folder.name for folder in home.quarantine.iterdir() if any(folder.glob("*.parquet")))


def show(home: Home, table: str, *, examples: int = 3) -> list[Held]:
    """What is held of a table, by reason, most rows first; of the newest file."""
    files = sorted((home.quarantine / table).glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        return []
    file = files[-1]
    columns = ("customer_id", "row_id", "event_time", "ingested_at")
    with engine(home.tmp) as connection:
        connection.execute(
            "CREATE TABLE held AS SELECT * EXCLUDE reason, unnest(string_split(reason, '; ')) AS reason "
            f"FROM read_parquet({literal(str(file))})"
        )
        counted = connection.execute(
            "SELECT reason, effect, count(*) FROM held GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        ).fetchall()
        found = []
        for reason, effect, rows in counted:
            some = connection.execute(
                f"SELECT {', '.join(f'{name}::VARCHAR' for name in columns)} FROM held WHERE reason = ? AND effect = ? "
                f"ORDER BY ALL LIMIT {examples}",
                [reason, effect],
            ).fetchall()
            shown = tuple(dict(zip(columns, row, strict=True)) for row in some)
            found.append(Held(table, str(reason), str(effect), int(rows), shown, file))
    return found
