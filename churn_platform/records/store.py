"""The content-addressed store: an artifact's name is the SHA-256 of its bytes, so it never changes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from churn_platform.errors import ArtifactCorruptError, ArtifactMissingError, RecordError
from churn_platform.records.files import (
    remove,
    replace_folder,
    sync_file,
    temporary_name,
    write_new,
)
from churn_platform.records.jsontext import canonical
from churn_platform.records.schema import check_schema, schema_tag

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 1 << 20
# Read-only, so that a hard link to an object cannot be written through by accident.
_MODE: Final = 0o444


class ContentStore:
    """Objects under ``root/objects/ab/<digest>``; a digest is 64 lowercase hex digits.

    Several processes may write at once: the same bytes have the same name, and a name appears only with whole
    content.

    Args:
        root: the store's folder (``home.store``); made where missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"
        self._tmp = root / "tmp"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._tmp.mkdir(exist_ok=True)

    def put_bytes(self, data: bytes) -> str:
        """Store bytes; returns their digest."""
        digest = hashlib.sha256(data).hexdigest()
        if not self._place(digest).exists():
            with self.temporary() as temporary:
                write_new(temporary, data)
                self._adopt(temporary, digest)
        return digest

    def put_json(self, value: Any) -> str:
        """Store a value as canonical JSON (:mod:`churn_platform.records.jsontext`); returns its digest."""
        return self.put_bytes(canonical(value))

    def put_file(self, path: Path, *, move: bool = False) -> str:
        """Store a file's content; returns its digest.

        Args:
            move: the file is given away: renamed into the store where that is possible, and gone after.
                Nobody may write to it any more.

        Raises:
            ArtifactMissingError: there is no such file.
            RecordError: the path is not a regular file.
        """
        try:
            status = path.lstat()
        except FileNotFoundError as error:
            raise ArtifactMissingError(
                f"There is no file {path} to store.", mend="Write it before it is put into the store."
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise RecordError(
                f"{path} is not a regular file.",
                mend="Give the file itself; put_tree stores folders, and links are not followed.",
            )
        # A file with a second name could be changed through that name later: such a one is copied.
        if move and status.st_nlink == 1 and status.st_dev == self._tmp.stat().st_dev:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not self._place(digest).exists():
                self._adopt(path, digest)
        else:
            with self.temporary() as temporary:
                digest = _copy_hashing(path, temporary)
                if not self._place(digest).exists():
                    self._adopt(temporary, digest)
        if move:
            path.unlink(missing_ok=True)
        return digest

    def put_tree(self, directory: Path) -> str:
        """Store every file below a folder; returns the digest of the manifest, which names them.

        The manifest is the canonical JSON of ``{"schema": "tree/1", "files": {relative path: digest}}``.
        Empty folders and permission bits are not kept.

        Raises:
            ArtifactMissingError: there is no such folder.
            RecordError: it holds something that is neither a file nor a folder.
        """
        if not directory.is_dir():
            raise ArtifactMissingError(
                f"There is no folder {directory} to store.", mend="Write it before it is put into the store."
            )
        files = {
            path.relative_to(directory).as_posix(): self.put_file(path)
            for path in sorted(directory.rglob("*"))
            if path.is_symlink() or not path.is_dir()
        }
        return self.put_json({"schema": schema_tag("tree", 1), "files": files})

    def tree(self, digest: str) -> dict[str, str]:
        """The files of a stored tree: relative path to digest.

        Raises:
            ArtifactMissingError, ArtifactCorruptError: see :meth:`read_bytes`.
            RecordError: the object is not a tree, or a path leads out of it.
        """
        manifest = self.read_json(digest)
        check_schema(manifest, "tree", (1,))
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if not isinstance(files, dict):
            raise RecordError(
                f"The tree {digest} names no files.",
                mend="Do not use this artifact: it was not written by put_tree.",
            )
        for relative in files:
            parts = PurePosixPath(relative).parts
            if not parts or parts[0] == "/" or ".." in parts:
                raise RecordError(
                    f"The tree {digest} names the path {relative!r}, which leads out of it.",
                    mend="Do not use this artifact: it was not written by put_tree.",
                )
        return files

    def export_tree(self, digest: str, target: Path, *, copy: bool = False) -> None:
        """Lay a stored tree out as the folder ``target``: whole or not at all. What is in its place goes.

        Args:
            copy: write copies that may be changed; otherwise files are read-only, and hard links to the store
                where possible.

        Raises:
            ArtifactMissingError, RecordError: see :meth:`tree`; also where one of its files is missing.
        """
        files = self.tree(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        prepared = temporary_name(target.parent)
        prepared.mkdir()
        try:
            for relative, file_digest in files.items():
                place = prepared / relative
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(self.path(file_digest), place, copy=copy)
            replace_folder(prepared, target)
        finally:
            remove(prepared)

    def path(self, digest: str) -> Path:
        """The file that holds an object: to be read, never written.

        Raises:
            ArtifactMissingError: no object under that digest.
            RecordError: not a digest.
        """
        place = self._place(digest)
        if not place.exists():
            raise ArtifactMissingError(
                f"The store has no object {digest}.",
                mend="Materialize the asset that makes it again, or restore the store from a backup.",
            )
        return place

    def has(self, digest: str) -> bool:
        """Whether there is an object under that digest (its content is not checked)."""
        return self._place(digest).exists()

    def read_bytes(self, digest: str) -> bytes:
        """An object's content, checked against its digest.

        Raises:
            ArtifactMissingError: no object under that digest.
            ArtifactCorruptError: the bytes do not match it.
        """
        data = self.path(digest).read_bytes()
        self._compare(digest, hashlib.sha256(data).hexdigest())
        return data

    def read_json(self, digest: str) -> Any:
        """An object's content as JSON; see :meth:`read_bytes`.

        Raises:
            RecordError: the content is not JSON.
        """
        data = self.read_bytes(digest)
        try:
            return json.loads(data)
        except ValueError as error:
            raise RecordError(f"The object {digest} is not JSON.", mend="Read it with read_bytes or path.") from error

    def verify(self, digest: str) -> None:
        """Read an object again and compare it with its digest.

        Raises:
            ArtifactMissingError: no object under that digest.
            ArtifactCorruptError: the bytes do not match it.
        """
        with self.path(digest).open("rb") as file:
            self._compare(digest, hashlib.file_digest(file, "sha256").hexdigest())

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A path to write a file or folder to, on the store's file system; removed when the block ends.

        To keep what was written: ``put_file(path, move=True)`` or ``put_tree(path)`` inside the block.
        """
        path = temporary_name(self._tmp)
        try:
            yield path
        finally:
            remove(path)

    def _place(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise RecordError(
                f"{digest!r} is not a digest.",
                mend="A digest is 64 lowercase hexadecimal digits.",
                field="digest",
            )
        return self._objects / digest[:2] / digest

    def _adopt(self, temporary: Path, digest: str) -> None:
        """Give a file on the store's file system its name, after its content has reached the disk."""
        place = self._place(digest)
        place.parent.mkdir(exist_ok=True)
        temporary.chmod(_MODE)
        sync_file(temporary)
        # The folder is not synced: should a power cut take the name, the object is missing and is made again.
        temporary.replace(place)

    def _compare(self, digest: str, found: str) -> None:
        if found != digest:
            raise ArtifactCorruptError(
                f"The object {digest} has other bytes than when it was stored: their digest is {found}.",
                mend=f"Delete {self._place(digest)} and materialize its asset again, or restore it from a "
                "backup; check the disk.",
            )


def _copy_hashing(source: Path, target: Path) -> str:
    """Copy a file and return the digest of the bytes that were written."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    return digest.hexdigest()


def _link_or_copy(source: Path, target: Path, *, copy: bool) -> None:
    if not copy:
        try:
            os.link(source, target)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                raise
    shutil.copyfile(source, target)
    sync_file(target)
