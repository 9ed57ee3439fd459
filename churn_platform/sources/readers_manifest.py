"""What a local copy of remote tables holds: the record beside its files, read wherever tables are opened."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from churn_platform.records.files import write_atomic

FILE = "extract.json"
SCHEMA = "extract/1"


@dataclass
class Extract:
    """The local copy of a source: a folder that stands in for it wherever tables are read.

    Args:
        root: the folder.
        origin: the URL or the folder that it is a copy of.
        base: the folder of tables that are files of this machine anyway; None where there are none.
        tables: table → ``path`` as the contract writes it, ``files`` relative to the root, and what the next
            load must know.
    """

    root: Path
    origin: str
    base: str | None = None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def find(cls, root: Path) -> Self | None:
        """The copy in a folder; None where there is none, or one of an older form, which is made anew."""
        file = root / FILE
        if not file.is_file():
            return None
        try:
            kept = json.loads(file.read_text())
        except ValueError:
            return None
        if not isinstance(kept, dict) or kept.get("schema") != SCHEMA:
            return None
        return cls(root, str(kept["origin"]), kept["base"], dict(kept["tables"]))

    def save(self) -> None:
        """Write the record, whole; readers see the old one or the new."""
        value = {"schema": SCHEMA, "origin": self.origin, "base": self.base, "tables": self.tables}
        write_atomic(self.root / FILE, json.dumps(value, indent=1, sort_keys=True).encode())

    def files(self, table: str) -> tuple[Path, ...]:
        """The files of a table; empty where it is not a remote one."""
        kept = self.tables.get(table)
        return tuple(self.root / name for name in kept["files"]) if kept else ()
