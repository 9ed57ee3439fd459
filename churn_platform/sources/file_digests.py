"""The digests of files, remembered for as long as a file's size, place and time of change stay what they were."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from churn_platform.records.files import write_atomic

_SCHEMA = "file_digests/1"
# Written just now, a file can change once more within one tick of the file system's clock: its digest is not kept yet.
_SETTLED_NS = 2_000_000_000


class FileDigests:
    """Content digests with a memory.

    Args:
        path: the file that remembers. One that is missing or broken costs a reading of all files, nothing else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _load(path)

    def of(self, files: Sequence[Path]) -> list[str]:
        """The SHA-256 of each file, in order. Reads those that are new or changed."""
        found, learned = [], False
        for file in files:
            facts = file.stat()
            mark = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
            kept = self._known.get(str(file))
            if kept is not None and kept[:3] == mark:
                found.append(str(kept[3]))
                continue
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found.append(digest)
            if time.time_ns() - facts.st_mtime_ns > _SETTLED_NS:
                self._known[str(file)] = [*mark, digest]
                learned = True
        if learned and self._path.parent.is_dir():
            write_atomic(self._path, json.dumps({"schema": _SCHEMA, "files": self._known}).encode())
        return found


def _load(path: Path) -> dict[str, list[int | str]]:
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return dict(kept["files"]) if isinstance(kept, dict) and kept.get("schema") == _SCHEMA else {}
