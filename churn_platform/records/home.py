"""CHURN_HOME: the one folder that everything is written to, and the version of its layout."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from churn_platform.errors import HomeError
from churn_platform.records.files import create_once
from churn_platform.settings import settings

LAYOUT_VERSION: Final = 1
FOLDERS: Final = (
    "sources",
    "vault",
    "store",
    "refs",
    "events",
    "dagster",
    "mlflow",
    "feast",
    "bentoml",
    "champion",
    "quarantine",
    "outlets",
    "reports",
    "logs",
    "run",
    "tmp",
)


@dataclass(frozen=True)
class Home:
    """An opened home, made by :meth:`open`; the properties are absolute paths of folders that exist."""

    root: Path

    @classmethod
    def open(cls, root: Path | None = None) -> Self:
        """Open a home, making what is missing (folders are private to the user: mode 0700).

        Args:
            root: the folder; ``settings().home`` by default.

        Raises:
            HomeError: written by a newer release, unreadable VERSION, or a folder that cannot be written.
        """
        root = Path(os.path.abspath((root or settings().home).expanduser()))  # noqa: PTH100 - keeps symlinks
        version_file = root / "VERSION"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not version_file.exists():
                create_once(version_file, json.dumps({"home": LAYOUT_VERSION}).encode() + b"\n", mode=0o644)
            _check_version(version_file)
            for name in FOLDERS:
                (root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"The home {root} cannot be written: {error.strerror or error}.",
                mend="Set CHURN_HOME to a folder of yours with free space, or mend this one's permissions.",
                field="home",
            ) from error
        if not os.access(root, os.W_OK | os.X_OK):
            raise HomeError(
                f"The home {root} is read-only for this user.",
                mend="Set CHURN_HOME to a folder of yours, or mend the permissions of this one.",
                field="home",
            )
        return cls(root)

    @property
    def sources(self) -> Path:
        """Raw tables as delivered or simulated, a folder for each problem. Raw customer ids may be here."""
        return self.root / "sources"

    @property
    def vault(self) -> Path:
        """The identity vault: its database and, in the embedded profile, its key."""
        return self.root / "vault"

    @property
    def store(self) -> Path:
        """The content-addressed store."""
        return self.root / "store"

    @property
    def refs(self) -> Path:
        """Which artifact each partition of an asset is."""
        return self.root / "refs"

    @property
    def events(self) -> Path:
        """Append-only logs, a folder for each stream: predictions, lineage."""
        return self.root / "events"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: runs, events, schedules."""
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        """MLflow's tracking database, registry and artifacts."""
        return self.root / "mlflow"

    @property
    def feast(self) -> Path:
        """Feast's registry, the monthly tables it reads, and the packed online store."""
        return self.root / "feast"

    @property
    def bentoml(self) -> Path:
        """BENTOML_HOME: built bentos."""
        return self.root / "bentoml"

    @property
    def champion(self) -> Path:
        """The champion's package as served."""
        return self.root / "champion"

    @property
    def quarantine(self) -> Path:
        """Rows that broke a rule of their contract, under pseudonyms or row hashes."""
        return self.root / "quarantine"

    @property
    def outlets(self) -> Path:
        """What leaves the platform: the published list, and the outbox with its sealed secrets."""
        return self.root / "outlets"

    @property
    def reports(self) -> Path:
        """Generated reports for people."""
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        """Logs of the programs that the platform starts."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Pid files and addresses of what is running."""
        return self.root / "run"

    @property
    def tmp(self) -> Path:
        """Scratch space; may be emptied whenever nothing runs."""
        return self.root / "tmp"

    @property
    def identity_db(self) -> Path:
        """The SQLite file of API keys (not a folder; made when the first key is)."""
        return self.root / "identity.db"


def _check_version(file: Path) -> None:
    try:
        version = json.loads(file.read_text(encoding="utf-8"))["home"]
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(
            f"{file} does not hold a home's version.",
            mend="Point CHURN_HOME at another folder, or restore VERSION from a backup.",
            field="home",
        ) from error
    if type(version) is not int or version < 1:
        raise HomeError(
            f"{file} gives the version {version!r}, which no release has written.",
            mend="Point CHURN_HOME at another folder, or restore VERSION from a backup.",
            field="home",
        )
    if version > LAYOUT_VERSION:
        raise HomeError(
            f"The home {file.parent} has layout {version}; this release knows up to {LAYOUT_VERSION}.",
            mend="Use the release that wrote it or a newer one, or point CHURN_HOME at another folder.",
            field="home",
        )
