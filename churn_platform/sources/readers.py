"""Raw tables as DuckDB relations: CSV of any delimiter, plain or gzipped, and Parquet; a file, a folder, or
a glob."""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import Contract, Table
from churn_platform.sources.engine import literal

if TYPE_CHECKING:
    import duckdb

DELIMITERS = (",", ";", "\t", "|")
CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_SAMPLE = 1 << 16
_VARCHAR = literal("VARCHAR")


@dataclass(frozen=True)
class RawTable:
    """One raw table, ready to be read.

    Args:
        name: its name in the contract.
        format: how it is stored.
        files: the part files, sorted.
        relation: SQL that stands after FROM; every CSV column is text in it.
        columns: the company's column name → DuckDB type.
    """

    name: str
    format: Literal["csv", "parquet"]
    files: tuple[Path, ...]
    relation: str
    columns: dict[str, str]

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
        near = difflib.get_close_matches(name, self.columns, n=3, cutoff=0.5)
        hint = f"Nearest: {', '.join(near)}." if near else f"It has: {', '.join(list(self.columns)[:30])}."
        if self.format == "csv" and len(self.columns) == 1:
            hint = "It has one column only: state the table's delimiter in the contract."
        raise ContractError(
            f"tables.{self.name}.{role}: {self.files[0].name} has no column {name!r}.",
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
    if source.is_file():
        return (source,)
    target = source / table.path
    if target.is_file():
        return (target,)
    found = sorted(target.rglob("*")) if target.is_dir() else sorted(source.glob(table.path))
    files = tuple(
        f for f in found if f.is_file() and _suffix(f) and not f.name.startswith((".", "_")) and f.stat().st_size
    )
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
    return read_files(connection, files, name=name, table=table, expected=expected)


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
    relation = _parquet(files) if kind == "parquet" else _csv(files, table, tuple(expected))
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    except duckdb.Error as error:
        raise ContractError(
            f"tables.{name}: {files[0].name} cannot be read as {kind}: {str(error).splitlines()[0]}",
            mend="See that the file is whole; for CSV state delimiter and encoding in the contract.",
            field=f"tables.{name}.path",
        ) from error
    return RawTable(name, kind, files, relation, {str(row[0]): str(row[1]) for row in described})


def _suffix(file: Path) -> str | None:
    lowered = file.name.lower()
    return next((s for s in (*CSV_SUFFIXES, *PARQUET_SUFFIXES) if lowered.endswith(s)), None)


def _format(file: Path) -> Literal["csv", "parquet"]:
    if _suffix(file) in PARQUET_SUFFIXES:
        return "parquet"
    with file.open("rb") as stream:  # a single file is judged by its content: its name may be anything
        return "parquet" if stream.read(4) == b"PAR1" else "csv"


def _paths(files: Iterable[Path]) -> str:
    # DuckDB expands wildcards in names; a bracket in a file's name is no wildcard
    escaped = (re.sub(r"([*?\[])", r"[\1]", str(file)) for file in files)
    return "[" + ", ".join(literal(path) for path in escaped) + "]"


def _parquet(files: tuple[Path, ...]) -> str:
    return f"read_parquet({_paths(files)}, union_by_name = true, hive_partitioning = false)"


def _csv(files: tuple[Path, ...], table: Table | None, expected: tuple[str, ...]) -> str:
    groups: dict[tuple[str, str, tuple[str, ...]], list[Path]] = {}
    for file in files:
        encoding = (table.encoding if table else None) or sniff_encoding(file)
        stated = table.delimiter if table else None
        delimiter, header = sniff_header(file, encoding, (stated,) if stated else DELIMITERS, expected)
        groups.setdefault((encoding, delimiter, header), []).append(file)
    reads = [
        # Everything is stated, so that DuckDB's own sniffer, which reads a sample of the values, decides
        # nothing
        f"read_csv({_paths(part)}, auto_detect = false, header = true, delim = {literal(delimiter)}, quote "
        f"= '\"', "
        f"escape = '\"', encoding = {literal(encoding)}, store_rejects = true, nullstr = '', "
        f"columns = {{{', '.join(literal(name) + ': ' + _VARCHAR for name in header)}}})"
        for (encoding, delimiter, header), part in sorted(groups.items())
    ]
    if len(reads) == 1:
        return reads[0]
    return "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {read}" for read in reads) + ")"


def _open(file: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(file, "rb") if file.name.lower().endswith(".gz") else file.open("rb")


def sniff_encoding(file: Path) -> Literal["utf-8", "latin-1"]:
    """UTF-8 where every byte of the file is, else Latin-1, in which every byte means something.

    Raises:
        ContractError: UTF-16, which is not read.
        SourceMissingError: the file cannot be opened or decompressed.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with _open(file) as stream:
            head = stream.read(1 << 20)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ContractError(f"{file} is UTF-16.", mend="Save it as UTF-8; that and Latin-1 are read.")
            while head:
                decoder.decode(head)
                head = stream.read(1 << 20)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    except (OSError, EOFError) as error:
        raise SourceMissingError(f"{file} cannot be read: {error}.", mend="Deliver the file again, whole.") from error
    return "utf-8"


def sniff_header(
    file: Path, encoding: str, delimiters: Iterable[str] = DELIMITERS, expected: Iterable[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names of a CSV file.

    Of the delimiters, the one wins under which the header holds all expected names, then the one that cuts
    the first lines into equally many fields, then the one that cuts most; quotes are respected. Repeated and
    empty names get a number, so that every column can be named.

    Raises:
        SourceMissingError: the file has no line.
    """
    with _open(file) as stream:
        head = stream.read(_SAMPLE)
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="ignore")
    if len(head) == _SAMPLE:
        text = text[: text.rfind("\n") + 1] or text
    wanted = {name.strip().casefold() for name in expected}
    best: tuple[bool, float, int] | None = None
    chosen: tuple[str, list[str]] = (",", [])
    for candidate in delimiters:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=candidate) if row][:200]
        if not rows:
            raise SourceMissingError(f"{file} has no line.", mend="Deliver the file again; a table needs its header.")
        same = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        score = (
            wanted <= {field.strip().casefold() for field in rows[0]},
            round(same, 1) if len(rows[0]) > 1 else 0.0,
            len(rows[0]),
        )
        if best is None or score > best:
            best, chosen = score, (candidate, rows[0])
    names: list[str] = []
    for position, field in enumerate(chosen[1], start=1):
        name, suffix = field or f"column{position}", 2
        while name.casefold() in {known.casefold() for known in names}:
            name, suffix = f"{field or f'column{position}'}_{suffix}", suffix + 1
        names.append(name)
    return chosen[0], tuple(names)


def scans_so_far(connection: duckdb.DuckDBPyConnection) -> int:
    """A mark for :func:`rejected_lines`."""
    if not _has_rejects(connection):
        return -1
    found = connection.execute("SELECT coalesce(max(scan_id), -1) FROM reject_scans").fetchone()
    return int(found[0]) if found else -1


def rejected_lines(connection: duckdb.DuckDBPyConnection, since: int = -1) -> int:
    """Lines that CSV scans after the mark could not cut into columns; they are left out of the relation."""
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
