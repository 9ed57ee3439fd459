"""Whole files or nothing: everything is written under a temporary name in the same folder, then renamed.

A reader sees the old content or the new, never a half; a writer that is killed leaves a file whose name
starts with ``.tmp-``, which no reader looks at and the next start removes (records/leftovers.py).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from churn_platform.records.owner import named

KIND = ".tmp"


def temporary_name(folder: Path) -> Path:
    """A path in ``folder`` that nobody else uses; nothing is created."""
    return folder / named(KIND)


def sync_file(path: Path) -> None:
    """Return only when the file's content is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Return only when the folder's names (after a rename, say) are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder with its content; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; a file written there takes its place when the block ends well.

    The folder is made where missing. After an exception ``path`` is as it was.

    Args:
        durable: sync the content and the name to disk before returning.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path.parent)
    try:
        yield temporary
        if durable:
            sync_file(temporary)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        remove(temporary)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Write ``data`` to ``path`` as a whole, or not at all.

    Args:
        mode: permission bits, further narrowed by the umask.
        durable: sync the content and the name to disk before returning.
    """
    with replacing(path, durable=durable) as temporary:
        write_new(temporary, data, mode=mode)


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file that must not exist yet (not synced).

    Raises:
        FileExistsError: where there is one.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def create_once(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Create ``path`` with ``data`` unless it exists: of several processes one wins, with whole content.

    Returns:
        Whether this call made the file.
    """
    temporary = temporary_name(path.parent)
    try:
        write_new(temporary, data, mode=mode)
        sync_file(temporary)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        sync_folder(path.parent)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(prepared: Path, target: Path) -> None:
    """Let the folder ``prepared`` (on the same file system) take the place of ``target``.

    Where ``target`` is absent or empty this is one rename. Otherwise what is there is moved aside first: for
    the moment between two renames there is none.
    """
    while True:
        try:
            prepared.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            sync_folder(target.parent)
            return
        aside = temporary_name(target.parent)
        with suppress(FileNotFoundError):
            target.rename(aside)
        remove(aside)
