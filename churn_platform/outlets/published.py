"""The ranked list as a Parquet file with a name that stays: whoever reads it sees the old list or the new, whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from churn_platform.outlets.kinds import Ids
from churn_platform.outlets.lists import ListFacts, Reveal, table_of
from churn_platform.records.files import replacing, write_atomic
from churn_platform.records.lock import exclusive

if TYPE_CHECKING:
    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

NAME: Final = "scores_current.parquet"
FACTS: Final = "scores_current.json"
BY_DIGEST: Final = "by-digest"
KEPT: Final = 24
_MODE: Final = 0o600


def default_folder(home: Home) -> Path:
    """Where the asset ``scores_outlet`` publishes."""
    return home.outlets / "scores"


def publish(
    folder: Path, store: ContentStore, facts: ListFacts, ids: Ids, reveal: Reveal, *, always: bool = False
) -> dict[str, Any]:
    """Write ``scores_current.parquet``, the same under its own digest, and ``scores_current.json`` that describes it.

    Nothing is written where the folder holds this list, or one that was made later. Of the files by digest the newest
    24 are kept.

    Args:
        always: replace a list that was made later, too: by whoever knows that this is the present one.

    Returns:
        What ``scores_current.json`` says: the facts of the list, ``ids``, ``file`` (by digest, relative), ``sha256``.
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock", "publish a list", wait=30.0):
        present = published(folder)
        if present is not None and _holds(folder, present, facts, ids, always):
            return present
        kept = folder / BY_DIGEST
        kept.mkdir(exist_ok=True)
        with replacing(kept / "new") as temporary:
            pq.write_table(table_of(store, facts, ids, reveal), temporary, compression="zstd", store_schema=False)
            temporary.chmod(_MODE)
        digest = hashlib.sha256((kept / "new").read_bytes()).hexdigest()
        file = kept / f"{digest}.parquet"
        (kept / "new").replace(file)
        with replacing(folder / NAME) as temporary:
            temporary.write_bytes(file.read_bytes())
            temporary.chmod(_MODE)
        said = {
            "schema": "published_list/1",
            **facts.to_json(),
            "rows": pq.read_metadata(file).num_rows,
            "ids": ids,
            "sha256": digest,
            "file": f"{BY_DIGEST}/{file.name}",
        }
        write_atomic(folder / FACTS, json.dumps(said, indent=2).encode() + b"\n", mode=_MODE)
        for old in sorted(kept.glob("*.parquet"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            if old != file:
                old.unlink()
    return said


def published(folder: Path) -> dict[str, Any] | None:
    """What the folder's description says; None where nothing has been published."""
    try:
        found: dict[str, Any] = json.loads((folder / FACTS).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found


def _holds(folder: Path, present: Mapping[str, Any], facts: ListFacts, ids: Ids, always: bool) -> bool:
    """Whether the folder needs nothing: the file is there, and is this list or a later one."""
    same = (present["digest"], present["made_at"], present["ids"]) == (facts.digest, facts.made_at, ids)
    # A file of an earlier release has no such column.
    same = same and present.get("degraded", "") == facts.degraded
    later = not always and present["problem"] == facts.problem and present["made_at"] > facts.made_at
    return (same or later) and (folder / NAME).is_file() and (folder / str(present["file"])).is_file()
