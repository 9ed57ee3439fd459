"""How a CSV file is written (packing, encoding, delimiter, header), found cheaply, and the SQL that reads it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.engine import literal
from churn_platform.sources.readers_foreign import refuse_foreign
from churn_platform.sources.readers_packed import (
    UNREADABLE,
    Packing,
    foreign_encoding,
    open_bytes,
    packing_of,
    recode,
    unpack_members,
    work_folder,
)

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.contract import Table

WHITESPACE = "whitespace"
"""The delimiter of columns that are set apart by any number of blanks and tabs, as in tables made for printing."""
FILE = "__file"
"""The column that says which of several files a row stands in."""
DELIMITERS = (",", ";", "\t", "|")
_SAMPLE, _ROWS, _CHUNK = 1 << 16, 200, 1 << 20
_VARCHAR = literal("VARCHAR")
_FIELD = r'"[^"]*"|\S+'
_TIME = re.compile(r"\d{4}-?\d\d-?\d\d([ T].*)?$|\d{1,2}[./]\d{1,2}[./]\d{2,4}")

Encoding = Literal["utf-8", "latin-1"]


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is written.

    Args:
        encoding: as DuckDB reads it.
        delimiter: one character, or :data:`WHITESPACE`.
        header: whether the first line holds the names.
        names: the columns' names; ``column1`` and so on where there is no header.
        mixed: whether lines end in different ways, which DuckDB reads only when it is lenient.
        packing: None where the file is plain.
        renamed: (name, header, position) of columns whose header is empty or stands there before; counted from 1.
    """

    encoding: str
    delimiter: str
    header: bool
    names: tuple[str, ...]
    mixed: bool = False
    packing: Packing | None = None
    renamed: tuple[tuple[str, str, int], ...] = ()

    @property
    def looks_headless(self) -> bool:
        """Whether what was taken for the header holds numbers or dates."""
        return self.header and any(_is_value(name) for name in self.names)


@dataclass(frozen=True)
class CsvRelation:
    """SQL over part files.

    Args:
        sql: what stands after FROM; every column is text.
        miscut: SQL that counts the lines of ``whitespace`` files with too few or too many columns, which are
            left out of ``sql``; None where DuckDB itself counts them.
        layout: how the first file is written.
        paths: the files as DuckDB opens them, in order; where they are several, the column :data:`FILE` names one.
    """

    sql: str
    miscut: str | None
    layout: CsvLayout
    paths: tuple[str, ...] = ()


def csv_relation(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    *,
    name: str,
    table: Table | None = None,
    expected: Iterable[str] = (),
) -> CsvRelation:
    """The relation over files of one table, which may differ in layout, in the order of columns and in columns.

    Args:
        name: the table's name, for errors.
        table: what the contract states; without one also the header's absence is found.
        expected: names that the header should hold.

    Raises:
        SourceMissingError: a file that is empty, broken, or cannot be opened.
        ContractError: a file in an encoding that is not read, or without the columns that ``names`` lists.
    """
    wanted = tuple(expected)
    known: dict[tuple[str, bytes], CsvLayout] = {}
    groups: dict[CsvLayout, list[Path]] = {}
    first: CsvLayout | None = None
    stated = table.encoding if table else None
    plain = _plain(connection, files, stated)
    for file, recoded in plain.items():
        layout = _layout(file, table, wanted, known, "utf-8" if recoded else stated)
        if table is not None and not layout.header and table.names:
            layout = _named(layout, table, file, name)
        first = first or layout
        groups.setdefault(layout, []).append(file)
    if first is None:
        raise SourceMissingError(
            f"tables.{name}: {files[0].name} holds no table.", mend="Deliver the file again; it must hold CSV."
        )
    reads = [
        _read(layout, part, marked=len(plain) > 1)
        for layout, part in sorted(groups.items(), key=lambda item: str(item[1][0]))
    ]
    sql = reads[0] if len(reads) == 1 else "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {r}" for r in reads) + ")"
    counts = [_miscut(layout, part) for layout, part in groups.items() if layout.delimiter == WHITESPACE]
    return CsvRelation(sql, " + ".join(counts) if counts else None, first, tuple(str(file) for file in plain))


def _plain(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], stated: str | None) -> dict[Path, bool]:
    """The files as DuckDB can open them → whether they were recoded as UTF-8.

    What it cannot unpack or decode is rewritten beside its spilled rows.
    """
    plain: dict[Path, bool] = {}
    for file in files:
        packing = packing_of(file)
        refuse_foreign(file, stated)
        members = unpack_members(file, packing, work_folder(connection)) if packing in ("bz2", "zip") else [file]
        for member in members:
            if member != file:
                refuse_foreign(member, stated)
            encoding = foreign_encoding(member, stated)
            target = recode(member, encoding, work_folder(connection)) if encoding else member
            plain[target] = encoding is not None
    return plain


def _layout(
    file: Path,
    table: Table | None,
    expected: tuple[str, ...],
    known: dict[tuple[str, bytes], CsvLayout],
    stated: str | None,
) -> CsvLayout:
    found_encoding, mixed = scan(file)
    encoding: str = stated or found_encoding
    packing = packing_of(file)
    head = _head(file)
    line = head.split(b"\n", 1)[0].rstrip(b"\r")
    header = None if table is None else table.header
    # Thousands of daily files begin alike: what the first line of one has taught holds for the others
    key = (encoding, line if header is not False else b"")
    alike = known.get(key) if line.count(b'"') % 2 == 0 else None
    if alike is not None and (alike.header or _width(line, alike) == len(alike.names)):
        return replace(alike, mixed=mixed, packing=packing)
    delimiter = table.delimiter if table else None
    delimiters = (delimiter,) if delimiter else DELIMITERS
    found = _sniff(file, head, encoding, delimiters, expected, header=header, guess=delimiter is None)
    layout = replace(found, mixed=mixed, packing=packing)
    known[key] = layout
    return layout


def _named(layout: CsvLayout, table: Table, file: Path, name: str) -> CsvLayout:
    if len(layout.names) != len(table.names):
        delimiter = "blanks" if layout.delimiter == WHITESPACE else repr(layout.delimiter)
        raise ContractError(
            f"tables.{name}.names: {file.name} has {len(layout.names)} columns, cut at {delimiter}, and names lists "
            f"{len(table.names)}.",
            mend="List one name for every column, in the file's order, or state the table's delimiter.",
            field=f"tables.{name}.names",
        )
    return replace(layout, names=table.names)


def escaped_paths(files: Iterable[Path]) -> str:
    """A DuckDB list of paths in which wildcards mean themselves."""
    escaped = (re.sub(r"([*?\[])", r"[\1]", str(file)) for file in files)
    return "[" + ", ".join(literal(path) for path in escaped) + "]"


def _read(layout: CsvLayout, files: Sequence[Path], *, marked: bool = False) -> str:
    mark = f", filename = {literal(FILE)}" if marked else ""
    if layout.delimiter == WHITESPACE:
        cut, names = _cut(layout, files, mark), layout.names
        fields = ", ".join(f"nullif(trim(f[{i}], '\"'), '') AS {_quoted(n)}" for i, n in enumerate(names, start=1))
        fields += f", {FILE}" if marked else ""
        return f"(SELECT {fields} FROM {cut} WHERE len(f) = {len(names)})"
    columns = ", ".join(f"{literal(name)}: {_VARCHAR}" for name in layout.names)
    # Everything is stated, so that DuckDB's own sniffer, which reads a sample of the values, decides nothing
    return (
        f"read_csv({escaped_paths(files)}, {_options(layout)}, delim = {literal(layout.delimiter)}, quote = '\"', "
        f"escape = '\"', nullstr = '', strict_mode = {str(not layout.mixed).lower()}, columns = {{{columns}}}{mark})"
    )


def _options(layout: CsvLayout) -> str:
    compression = {None: "none", "gzip": "gzip", "zstd": "zstd"}[layout.packing]
    return (
        f"auto_detect = false, header = {str(layout.header).lower()}, encoding = {literal(layout.encoding)}, "
        f"compression = {literal(compression)}, store_rejects = true"
    )


def _cut(layout: CsvLayout, files: Sequence[Path], mark: str = "") -> str:
    """Lines cut at blanks into the list ``f``; empty lines are none."""
    lines = (
        f"read_csv({escaped_paths(files)}, {_options(layout)}, delim = chr(1), quote = '', escape = '', "
        f"strict_mode = false, columns = {{'line': {_VARCHAR}}}{mark})"
    )
    file = f", {FILE}" if mark else ""
    return f"(SELECT regexp_extract_all(line, {literal(_FIELD)}) AS f{file} FROM {lines} WHERE trim(line) <> '')"


def _miscut(layout: CsvLayout, files: Sequence[Path]) -> str:
    return f"(SELECT count(*) FROM {_cut(layout, files)} WHERE len(f) <> {len(layout.names)})"


def miscut_lines(layout: CsvLayout, paths: Sequence[str], limit: int) -> list[str]:
    """The first lines of ``whitespace`` files with too few or too many columns, in words."""
    found: list[str] = []
    for path in paths:
        with open_bytes(Path(path)) as stream:
            for number, line in enumerate(stream, start=1):
                fields = len(re.findall(_FIELD, line.decode(layout.encoding, errors="replace")))
                if fields and fields != len(layout.names):
                    where = f" of {Path(path).name}" if len(paths) > 1 else ""
                    found.append(f"line {number}{where} (too {'few' if fields < len(layout.names) else 'many'} fields)")
                    if len(found) == limit:
                        return found
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def sniff_encoding(file: Path) -> Encoding:
    """UTF-8 where every byte of the file is, else Latin-1, in which every byte means something.

    Raises:
        SourceMissingError: the file cannot be opened or decompressed.
    """
    return scan(file)[0]


def scan(file: Path) -> tuple[Encoding, bool]:
    """The encoding, and whether lines end in different ways; every byte is looked at. See :func:`sniff_encoding`."""
    decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
    lines = windows = 0
    last = b""
    try:
        with open_bytes(file) as stream:
            chunk = stream.read(_CHUNK)
            while chunk:
                if decoder is not None:
                    try:
                        decoder.decode(chunk)
                    except UnicodeDecodeError:
                        decoder = None
                lines += chunk.count(b"\n")
                windows += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
                last = chunk[-1:]
                chunk = stream.read(_CHUNK)
            if decoder is not None:
                try:
                    decoder.decode(b"", final=True)
                except UnicodeDecodeError:
                    decoder = None
    except UNREADABLE as error:
        raise SourceMissingError(f"{file} cannot be read: {error}.", mend="Deliver the file again, whole.") from error
    return ("latin-1" if decoder is None else "utf-8"), 0 < windows < lines


def _head(file: Path) -> bytes:
    try:
        with open_bytes(file) as stream:
            return stream.read(_SAMPLE)
    except UNREADABLE as error:
        raise SourceMissingError(f"{file} cannot be read: {error}.", mend="Deliver the file again, whole.") from error


def sniff_header(
    file: Path, encoding: str, delimiters: Iterable[str] = DELIMITERS, expected: Iterable[str] = ()
) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names of a CSV file that has a header.

    Of the delimiters, the one wins under which the header holds all expected names, then the one that cuts
    the first lines into equally many fields, then the one that cuts most; quotes are respected. Repeated and
    empty names get a number, so that every column can be named.

    Raises:
        SourceMissingError: the file has no line.
    """
    found = _sniff(file, _head(file), encoding, tuple(delimiters), tuple(expected), header=True, guess=False)
    return found.delimiter, found.names


def _sniff(
    file: Path,
    head: bytes,
    encoding: str,
    delimiters: Sequence[str],
    expected: Sequence[str],
    *,
    header: bool | None,
    guess: bool,
) -> CsvLayout:
    """Find delimiter and names. ``header`` None: find whether there is one; ``guess``: try blanks where no
    delimiter cuts anything."""
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="ignore")
    if len(head) == _SAMPLE:
        text = text[: text.rfind("\n") + 1] or text
    wanted = {name.strip().casefold() for name in expected}
    best: tuple[bool, float, int] | None = None
    delimiter, rows = ",", [[""]]
    for candidate in delimiters:
        cut = _rows(text, candidate)
        if not cut:
            raise SourceMissingError(f"{file} has no line.", mend="Deliver the file again; a table needs its header.")
        score = (
            wanted <= {field.strip().casefold() for field in cut[0]},
            round(_even(cut), 1) if len(cut[0]) > 1 else 0.0,
            len(cut[0]),
        )
        if best is None or score > best:
            best, delimiter, rows = score, candidate, cut
    if guess and len(rows[0]) == 1 and len(rows) > 1:
        blanks = _rows(text, WHITESPACE)
        if len(blanks[0]) > 1 and _even(blanks) == 1.0:
            delimiter, rows = WHITESPACE, blanks
    if header is None:
        header = not (len(rows) > 1 and any(_is_value(field) for field in rows[0]))
    if not header:
        return CsvLayout(encoding, delimiter, False, tuple(f"column{i}" for i in range(1, len(rows[0]) + 1)))
    names = _names(rows[0])
    renamed = ((name, field, at) for at, (name, field) in enumerate(zip(names, rows[0], strict=True), start=1))
    return CsvLayout(encoding, delimiter, True, names, renamed=tuple(one for one in renamed if one[0] != one[1]))


def _rows(text: str, delimiter: str) -> list[list[str]]:
    found: list[list[str]] = []
    if delimiter == WHITESPACE:
        lines = (re.findall(_FIELD, line) for line in text.splitlines())
        cut = ([field.strip('"') for field in fields] for fields in lines)
    else:
        cut = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    for row in cut:
        if row:
            found.append(row)
            if len(found) == _ROWS:
                break
    return found


def _even(rows: Sequence[Sequence[str]]) -> float:
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)


def _width(line: bytes, layout: CsvLayout) -> int:
    rows = _rows(line.decode(layout.encoding, errors="ignore"), layout.delimiter)
    return len(rows[0]) if rows else 0


def _is_value(field: str) -> bool:
    """A number or a date: what no column is called."""
    text = field.strip()
    try:
        float(text)
    except ValueError:
        return bool(_TIME.match(text))
    return text.lower() not in ("nan", "inf", "infinity")


def _names(fields: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    taken: set[str] = set()
    for position, field in enumerate(fields, start=1):
        base = field or f"column{position}"
        name, suffix = base, 2
        while name.casefold() in taken:
            name, suffix = f"{base}_{suffix}", suffix + 1
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)
