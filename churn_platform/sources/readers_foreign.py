"""Files that are no table, whatever their name says: workbooks, archives, pages. Known by their first bytes."""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import Path

from churn_platform.errors import ContractError, SourceMissingError

_HEAD = 4096
_SHEET = "Save each sheet as CSV UTF-8 (Excel: Save as), one table a file, and give that."
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook of the old form (xls)", _SHEET),
    (b"%PDF", "a PDF", "Give the data behind it, as CSV or Parquet."),
    (b"SQLite format 3\x00", "an SQLite database", "Write its tables as CSV, one a file, and give those."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it, and give the table inside."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it, and give the table inside."),
)
_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml|head|body)\b", re.IGNORECASE)
_JSON = re.compile(rb'\s*(\{\s*"|\[\s*[\[{])')
_PLAIN = (".csv", ".tsv", ".txt")
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def refuse_foreign(file: Path, stated: str | None = None) -> None:
    """Stop at a file that holds something else than a table.

    Args:
        stated: the encoding that the contract says.

    Raises:
        ContractError: a workbook, an archive under the name of a text file, a page, JSON, or bytes that are no text;
            says what it is and what to give in its place.
        SourceMissingError: the file cannot be opened.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise SourceMissingError(
            f"{file} cannot be read: {error.strerror or error}.", mend="See that it is there and may be read."
        ) from error
    if head.startswith(b"PK\x03\x04"):
        _refuse_zip(file)
        return
    for magic, what, mend in _MAGIC:
        if head.startswith(magic):
            raise _no_table(file, what, mend)
    text = head.removeprefix(codecs.BOM_UTF8)
    if _PAGE.match(text):
        raise _no_table(
            file, "a web page or XML", "Download the table again: a login or an error page may stand in its place."
        )
    if _JSON.match(text):
        raise _no_table(file, "JSON", "Write its rows as CSV or Parquet, and give that.")
    if stated != "utf-16" and head[:2] not in _MARKS and b"\x00" in head and not _packed(head):
        raise _no_table(
            file,
            "binary, or UTF-16 without its mark",
            "Save it as CSV UTF-8; or, if it is text, state encoding: utf-16 in the contract.",
        )


def _packed(head: bytes) -> bool:
    return head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh"))


def _refuse_zip(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return  # said when it is unpacked
    if "[Content_Types].xml" in names or any(name.startswith("xl/") for name in names):
        kind = "an Excel workbook (xlsx)" if any(name.startswith("xl/") for name in names) else "an Office document"
        raise _no_table(file, kind, _SHEET)
    if "mimetype" in names and "content.xml" in names:
        raise _no_table(file, "an OpenDocument spreadsheet (ods)", _SHEET)
    if file.name.lower().endswith(_PLAIN):
        listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise _no_table(
            file, f"a zip archive (of {listed})", f"Unpack it and give the table inside, or call it {file.name}.zip."
        )


def _no_table(file: Path, what: str, mend: str) -> ContractError:
    return ContractError(f"{file.name} is not CSV text but {what}.", mend=mend, field="source")
