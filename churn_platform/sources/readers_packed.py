"""Files that DuckDB cannot read itself, unpacked (bz2, zip) or recoded (UTF-16, Windows-1252) for as long as needed."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import re
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.records.owner import scratch

if TYPE_CHECKING:
    import duckdb

Packing = Literal["gzip", "zstd", "bz2", "zip"]
_MAGIC: dict[bytes, Packing] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"PK\x03\x04": "zip",
}
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
"""What broken archives raise. (pyarrow's errors are OSErrors.)"""


def packing_of(file: Path) -> Packing | None:
    """How a file is packed, by its first bytes: its name may be anything.

    Raises:
        SourceMissingError: the file cannot be opened.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise SourceMissingError(
            f"{file} cannot be read: {error.strerror or error}.", mend="See that it is there and may be read."
        ) from error
    return next((packing for magic, packing in _MAGIC.items() if head.startswith(magic)), None)


def open_bytes(file: Path) -> IO[bytes]:
    """The content of a plain, gzip, zstd or bz2 file as a stream."""
    packing = packing_of(file)
    if packing == "gzip":
        return cast("IO[bytes]", gzip.open(file, "rb"))
    if packing == "bz2":
        return cast("IO[bytes]", bz2.open(file, "rb"))
    if packing == "zstd":
        import pyarrow as pa

        return cast("IO[bytes]", pa.input_stream(str(file), compression="zstd"))
    return file.open("rb")


def work_folder(connection: duckdb.DuckDBPyConnection) -> Path:
    """A new folder where the connection spills; it goes when the connection closes."""
    found = connection.execute("SELECT current_setting('temp_directory')").fetchone()
    root = Path(str(found[0])) if found and found[0] else None
    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
    return scratch("unpacked", root)


def unpack_members(file: Path, packing: Packing, folder: Path) -> list[Path]:
    """Unpack a bz2 file, or the tables inside a zip file, into a folder; the plain files in order of name.

    Raises:
        SourceMissingError: a broken archive, or no space to unpack it.
        ContractError: an encrypted one.
    """
    try:
        if packing == "bz2":
            target = folder / file.name.removesuffix(".bz2")
            with bz2.open(file, "rb") as packed, target.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
            return [target]
        return _unzip(file, folder)
    except UNREADABLE as error:
        raise SourceMissingError(
            f"{file} cannot be unpacked: {error}.",
            mend=f"Deliver the file again, whole; unpacking needs space in {folder.parent}.",
        ) from error


def foreign_encoding(file: Path, stated: str | None) -> str | None:
    """The encoding that a file has to be recoded from; None where DuckDB reads it as it is.

    Args:
        stated: what the contract says; UTF-16 is also known by its first bytes.
    """
    if stated in ("utf-16", "windows-1252"):
        return stated
    try:
        with open_bytes(file) as stream:
            marked = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    except UNREADABLE as error:
        raise SourceMissingError(f"{file} cannot be read: {error}.", mend="Deliver the file again, whole.") from error
    return "utf-16" if marked and stated is None else None


def recode(file: Path, encoding: str, folder: Path) -> Path:
    """Write a file's content as UTF-8 into a folder.

    Raises:
        ContractError: it is not in that encoding.
        SourceMissingError: a broken archive, or no space for the copy.
    """
    target = folder / file.name.removesuffix(".gz").removesuffix(".zst")
    try:
        with (
            open_bytes(file) as raw,
            io.TextIOWrapper(cast("Any", raw), encoding=encoding, newline="") as text,
            target.open("w", encoding="utf-8", newline="") as out,
        ):
            shutil.copyfileobj(text, out, 1 << 20)
    except UnicodeError as error:
        raise ContractError(
            f"{file} is not written in {encoding}.", mend="State the table's encoding in the contract, or leave it out."
        ) from error
    except UNREADABLE as error:
        raise SourceMissingError(
            f"{file} cannot be recoded: {error}.", mend=f"Deliver it again, whole; this needs space in {folder.parent}."
        ) from error
    return target


def _unzip(file: Path, folder: Path) -> list[Path]:
    found: list[Path] = []
    with zipfile.ZipFile(file) as archive:
        members = sorted((member for member in archive.infolist() if _is_table(member)), key=lambda m: m.filename)
        for number, member in enumerate(members):
            if member.flag_bits & 1:
                raise ContractError(f"{file} is encrypted.", mend="Deliver it without a password.")
            # never the member's own path, which may lead out of the folder
            target = folder / f"{number:06d}-{PurePosixPath(member.filename).name}"
            with archive.open(member) as packed, target.open("wb") as out:
                shutil.copyfileobj(cast("Any", packed), out, 1 << 20)
            found.append(target)
    return found


def _is_table(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename).parts
    hidden = any(part.startswith((".", "__")) and part != ".." for part in parts)
    about = re.match(r"read.?me|licen[cs]e|notice|changelog", parts[-1] if parts else "", re.IGNORECASE)
    return not member.is_dir() and not hidden and not about and member.file_size > 0
