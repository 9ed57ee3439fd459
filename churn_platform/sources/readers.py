"""Raw tables as DuckDB relations: CSV of any delimiter, plain or packed, and Parquet; a file, a folder, or a
glob."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import Contract, Table
from churn_platform.sources.engine import literal, quote
from churn_platform.sources.readers_csv import (
    DELIMITERS,
    FILE,
    CsvLayout,
    csv_relation,
    escaped_paths,
    miscut_lines,
    sniff_encoding,
    sniff_header,
)
from churn_platform.sources.readers_manifest import Extract
from churn_platform.sources.readers_url import is_remote

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "CSV_SUFFIXES",
    "DELIMITERS",
    "PARQUET_SUFFIXES",
    "PLACES",
    "RawTable",
    "locate",
    "open_table",
    "read_files",
    "rejected_lines",
    "rejected_places",
    "scans_so_far",
    "sniff_encoding",
    "sniff_header",
]

_PLAIN, _PACKED = (".csv", ".tsv", ".txt"), (".gz", ".bz2", ".zst", ".zip")
CSV_SUFFIXES = (*_PLAIN, *(plain + packed for plain in _PLAIN for packed in _PACKED), ".zip")
PARQUET_SUFFIXES = (".parquet", ".pq")
PLACES = 3
"""How many broken lines are named."""


@dataclass(frozen=True)
class RawTable:
    """One raw table, ready to be read.

    Args:
        name: its name in the contract.
        format: how it is stored.
        files: the part files, sorted.
        relation: SQL that stands after FROM; every CSV column is text in it.
        columns: the company's column name → DuckDB type.
        layout: how the first CSV file is written; None for Parquet.
        miscut: SQL that counts lines left out of the relation besides those that DuckDB rejects.
        others: columns of a database's table that were not brought here, for messages.
        relation_name: ``schema.table`` of a database's table.
        marked: the relation with a column ``__file`` more that names each row's file; None for one file.
        paths: those files, in order.
    """

    name: str
    format: Literal["csv", "parquet"]
    files: tuple[Path, ...]
    relation: str
    columns: dict[str, str]
    layout: CsvLayout | None = None
    miscut: str | None = None
    others: tuple[str, ...] = ()
    relation_name: str | None = None
    marked: str | None = None
    paths: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What people call it: the name of its first file, or of the database's table."""
        return self.relation_name or self.files[0].name

    @property
    def renamed(self) -> dict[str, int]:
        """Columns whose header is empty or stands there before → their position, counted from 1."""
        return {name: at for name, _, at in (self.layout.renamed if self.layout else ())}

    def header(self, column: str) -> str:
        """What the file's header says of a column; its name where that was not changed."""
        return next((h for name, h, _ in (self.layout.renamed if self.layout else ()) if name == column), column)

    def column(self, name: str, *, role: str) -> str:
        """The column's name as the file writes it (blanks around it and case do not matter where that is
        clear).

        Raises:
            ContractError: there is no such column; the message says which ones come near.
        """
        if name in self.columns:
            return name
        alike = [c for c in self.columns if c.strip().casefold() == name.strip().casefold()]
        if len(alike) == 1:
            return alike[0]
        present = [*self.columns, *self.others]
        near = difflib.get_close_matches(name, present, n=3, cutoff=0.5)
        hint = f"Nearest: {', '.join(near)}." if near else f"It has: {', '.join(present[:30])}."
        if self.layout is not None and len(self.columns) == 1:
            hint = "It has one column only: state the table's delimiter in the contract."
        elif self.layout is not None and self.layout.looks_headless:
            hint = "Its first line holds values: if it has no header, state header: false and names in the contract."
        raise ContractError(
            f"tables.{self.name}.{role}: {self.title} has no column {name!r}.",
            mend=f"{hint} Mend the name (or the column's source) in the contract.",
            field=f"tables.{self.name}.{role}",
        )


def locate(table: Table, source: Path, *, name: str) -> tuple[Path, ...]:
    """The files of a table, sorted.

    Args:
        source: the folder that paths are relative to, or the one file of a snapshot.

    Raises:
        SourceMissingError: nothing is there.
        ContractError: a folder holds files of several formats.
    """
    if not source.exists():
        raise SourceMissingError(f"There is no source {source}.", mend="Give the folder or file that holds the tables.")
    if is_remote(table.path) and Extract.find(source) is None:
        raise SourceMissingError(
            f"tables.{name}.path: {table.path} has not been brought to this machine yet.",
            mend="Give the source to `churn demo` or `churn contract check`, which read it.",
            field=f"tables.{name}.path",
        )
    files = part_files(table, source, name=name)
    if not files:
        raise SourceMissingError(
            f"tables.{name}.path: {table.path!r} matches no CSV or Parquet file with content in {source}.",
            mend="Mend the path; it may be a file, a folder of part files, or a glob such as usage/*.parquet.",
            field=f"tables.{name}.path",
        )
    if len({_format(f) for f in files}) > 1:
        raise ContractError(
            f"tables.{name}.path: {table.path!r} holds CSV and Parquet files side by side.",
            mend="Write a glob that takes one of them, such as usage/*.parquet.",
            field=f"tables.{name}.path",
        )
    return files


def part_files(table: Table, source: Path, *, name: str) -> tuple[Path, ...]:
    """The files of a table with content, sorted; none where there are none. See :func:`locate`."""
    if source.is_file():
        return (source,)
    extract = Extract.find(source)
    if extract is not None:
        if name in extract.tables and extract.tables[name]["path"] == table.path:
            return extract.files(name)
        if extract.base is None:
            return ()
        source = Path(extract.base)
        if source.is_file():
            return (source,)
    target = source / table.path
    if target.is_file():
        return (target,)
    found = sorted(target.rglob("*")) if target.is_dir() else sorted(source.glob(table.path))
    present = [f for f in found if not f.name.startswith((".", "_")) and f.is_file() and f.stat().st_size]
    known = _without_twins(tuple(f for f in present if _suffix(f)))
    return known or (() if target.is_dir() else tuple(present))  # a glob that says *.dat means it


def open_table(connection: duckdb.DuckDBPyConnection, contract: Contract, name: str, source: Path) -> RawTable:
    """Find a table's files and learn their columns. Nothing but the beginnings is read yet (CSV: encodings
    are).

    Raises:
        SourceMissingError: no such file, or an empty one.
        ContractError: a file that is neither CSV nor Parquet, or is broken.
    """
    table = contract.tables[name]
    files = locate(table, source, name=name)
    expected = [table.source_of(r) for r in (table.entity, table.event_time, *table.key) if r]
    raw = read_files(connection, files, name=name, table=table, expected=expected)
    extract = Extract.find(source)
    if extract is not None and name in extract.tables:
        kept = extract.tables[name]
        raw = replace(raw, others=tuple(kept.get("others", ())), relation_name=kept.get("relation"))
    if table.deleted_at is None:
        return raw
    deleted = quote(raw.column(table.source_of(table.deleted_at), role="deleted_at"))
    here = f"lower(trim(coalesce({deleted}::VARCHAR, ''))) IN ('', 'false', 'f', 'no', 'n', '0')"  # also a flag
    present = f"(SELECT * FROM {raw.relation} WHERE {here})"
    marked = f"(SELECT * FROM {raw.marked} WHERE {here})" if raw.marked else None
    return replace(raw, relation=present, marked=marked)


def read_files(
    connection: duckdb.DuckDBPyConnection,
    files: tuple[Path, ...],
    *,
    name: str,
    table: Table | None = None,
    expected: Iterable[str] = (),
) -> RawTable:
    """A relation over part files that belong together. See :func:`open_table`."""
    import duckdb

    kind = _format(files[0])
    for file in files:
        if file.stat().st_size == 0:
            raise SourceMissingError(f"{file} is empty.", mend="Deliver the file again; a table needs its header.")
    found = None if kind == "parquet" else csv_relation(connection, files, name=name, table=table, expected=expected)
    relation = found.sql if found else _parquet(files)
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    except duckdb.Error as error:
        raise ContractError(
            f"tables.{name}: {files[0].name} cannot be read as {kind}: {str(error).splitlines()[0]}",
            mend="See that the file is whole; for CSV state delimiter and encoding in the contract.",
            field=f"tables.{name}.path",
        ) from error
    columns = {str(row[0]): str(row[1]) for row in described if row[0] != FILE}
    opened = found.paths if found else tuple(str(file) for file in files)
    layout, miscut = (found.layout, found.miscut) if found else (None, None)
    if len(opened) == 1:
        return RawTable(name, kind, files, relation, columns, layout, miscut)
    plain = f"(SELECT * EXCLUDE ({FILE}) FROM {relation})"
    return RawTable(name, kind, files, plain, columns, layout, miscut, marked=relation, paths=opened)


def _suffix(file: Path) -> str | None:
    lowered = file.name.lower()
    return next((s for s in (*CSV_SUFFIXES, *PARQUET_SUFFIXES) if lowered.endswith(s)), None)


def _format(file: Path) -> Literal["csv", "parquet"]:
    if _suffix(file) in PARQUET_SUFFIXES:
        return "parquet"
    with file.open("rb") as stream:  # a single file is judged by its content: its name may be anything
        return "parquet" if stream.read(4) == b"PAR1" else "csv"


def _without_twins(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Without packed files that stand unpacked beside themselves: their rows would count twice."""
    plain = {file.with_suffix("") if file.suffix.lower() in _PLAIN else file for file in files} | {*files}
    packed = {file for file in files if file.suffix.lower() in _PACKED and file.with_suffix("") in plain}
    return tuple(file for file in files if file not in packed)


def _parquet(files: tuple[Path, ...]) -> str:
    mark = f", filename = {literal(FILE)}" if len(files) > 1 else ""
    return f"read_parquet({escaped_paths(files)}, union_by_name = true, hive_partitioning = false{mark})"


def scans_so_far(connection: duckdb.DuckDBPyConnection) -> int:
    """A mark for :func:`rejected_lines`."""
    if not _has_rejects(connection):
        return -1
    found = connection.execute("SELECT coalesce(max(scan_id), -1) FROM reject_scans").fetchone()
    return int(found[0]) if found else -1


def rejected_lines(connection: duckdb.DuckDBPyConnection, since: int = -1, raw: RawTable | None = None) -> int:
    """Lines that CSV scans after the mark could not cut into columns; they are left out of the relation.

    Args:
        raw: the table that was scanned, whose files may be cut at blanks.
    """
    lost = _rejected(connection, since)
    if raw is not None and raw.miscut is not None:
        found = connection.execute(f"SELECT {raw.miscut}").fetchone()
        lost += int(found[0]) if found else 0
    return lost


def rejected_places(
    connection: duckdb.DuckDBPyConnection, since: int = -1, raw: RawTable | None = None, *, limit: int = PLACES
) -> tuple[str, ...]:
    """Where the first of :func:`rejected_lines` stand and what is wrong with them, such as "line 7 (too few fields)";
    the file is named where there are several."""
    found: list[str] = []
    if _has_rejects(connection):
        rows = connection.execute(
            "SELECT s.file_path, e.line, min(e.error_type) FROM reject_errors e "
            "JOIN reject_scans s USING (scan_id, file_id) WHERE e.scan_id > ? GROUP BY ALL ORDER BY 1, 2 LIMIT ?",
            [since, limit],
        ).fetchall()
        several = raw is not None and len(raw.paths) > 1
        for path, line, kind in rows:
            where = f" of {Path(path).name}" if several else ""
            found.append(f"line {line}{where} ({_FAULTS.get(str(kind), str(kind).lower())})")
    if raw is not None and raw.miscut is not None and raw.layout is not None and len(found) < limit:
        paths = raw.paths or tuple(str(file) for file in raw.files)
        found += miscut_lines(raw.layout, paths, limit - len(found))
    return tuple(found)


_FAULTS = {
    "MISSING COLUMNS": "too few fields",
    "TOO MANY COLUMNS": "too many fields",
    "UNQUOTED VALUE": "a quote that is not closed",
    "LINE SIZE OVER MAXIMUM": "longer than a line may be: is a quote not closed?",
}


def _rejected(connection: duckdb.DuckDBPyConnection, since: int) -> int:
    if not _has_rejects(connection):
        return 0
    found = connection.execute(
        "SELECT count(DISTINCT (scan_id, file_id, line)) FROM reject_errors WHERE scan_id > ?", [since]
    ).fetchone()
    return int(found[0]) if found else 0


def _has_rejects(connection: duckdb.DuckDBPyConnection) -> bool:
    sql = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"
    found = connection.execute(sql).fetchone()
    return bool(found and found[0])
