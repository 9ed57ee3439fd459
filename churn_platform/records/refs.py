"""References: which artifact a partition of an asset is at present."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from churn_platform.errors import ArtifactMissingError, RecordError
from churn_platform.records.files import write_atomic
from churn_platform.records.jsontext import canonical
from churn_platform.records.store import DIGEST

# The file of an unpartitioned asset. No partition is spelled so, since quote() would turn "@" into "%40".
_WHOLE: Final = "@"
_SUFFIX: Final = ".json"
# What file systems allow for one name.
_LONGEST: Final = 255


class Refs:
    """``root/<asset>/<partition>.json``: small JSON records that always have ``digest``.

    Args:
        root: the folder (``home.refs``); made when the first reference is set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, asset: str, partition: str | None, value: dict[str, Any]) -> None:
        """Point a partition at an artifact; atomic and durable. The last writer wins.

        Args:
            asset: the asset's name; may have several parts, split by ``/``.
            partition: its partition; ``None`` for an asset without any.
            value: what there is to say of it, as JSON; ``value["digest"]`` is the artifact.

        Raises:
            RecordError: no digest, no JSON, or a name that cannot be one.
        """
        digest = value.get("digest")
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise RecordError(
                f"The reference to {_spoken(asset, partition)} names no artifact.",
                mend='Put what ContentStore returned under "digest".',
                field="digest",
            )
        place = self._place(asset, partition)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, canonical(value) + b"\n")

    def find(self, asset: str, partition: str | None = None) -> dict[str, Any] | None:
        """The reference, or ``None`` where there is none; see :meth:`get`."""
        place = self._place(asset, partition)
        try:
            value = json.loads(place.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise _broken(place, asset, partition) from error
        if not isinstance(value, dict) or "digest" not in value:
            raise _broken(place, asset, partition)
        return value

    def get(self, asset: str, partition: str | None = None) -> dict[str, Any]:
        """What was set for a partition of an asset.

        Raises:
            ArtifactMissingError: nothing was; names the asset to materialize.
            RecordError: the file cannot be read.
        """
        value = self.find(asset, partition)
        if value is None:
            raise ArtifactMissingError(
                f"There is no {_spoken(asset, partition)} yet.",
                mend=f"Materialize the asset {asset} first: `churn materialize {asset}`.",
                field=asset,
            )
        return value

    def drop(self, asset: str, partition: str | None) -> None:
        """Forget a reference; its artifact stays in the store. Nothing where there is none."""
        self._place(asset, partition).unlink(missing_ok=True)

    def assets(self) -> list[str]:
        """The assets that have any reference, sorted."""
        if not self.root.is_dir():
            return []
        folders = {file.parent for file in self.root.rglob("*" + _SUFFIX)}
        return sorted("/".join(unquote(part) for part in folder.relative_to(self.root).parts) for folder in folders)

    def partitions(self, asset: str) -> list[str]:
        """The partitions that have a reference, sorted."""
        folder = self._folder(asset)
        if not folder.is_dir():
            return []
        names = (place.name.removesuffix(_SUFFIX) for place in folder.glob("*" + _SUFFIX))
        return sorted(unquote(name) for name in names if name != _WHOLE)

    def _folder(self, asset: str) -> Path:
        parts = asset.split("/")
        if not all(parts):
            raise RecordError(
                f"{asset!r} is no name of an asset.", mend="Give one or more non-empty parts, split by '/'."
            )
        # Dots are quoted too: the folder of "a/b.json" must not be the file of partition "b" of "a".
        return self.root.joinpath(*(quote(part, safe="").replace(".", "%2E") for part in parts))

    def _place(self, asset: str, partition: str | None) -> Path:
        if partition == "":
            raise RecordError(
                f"The partition of {asset} is empty.",
                mend="Give its key, or None for an asset without partitions.",
            )
        name = _WHOLE if partition is None else quote(partition, safe="")
        place = self._folder(asset) / (name + _SUFFIX)
        if max(len(part) for part in place.relative_to(self.root).parts) > _LONGEST:
            raise RecordError(
                f"The name {_spoken(asset, partition)} is too long to be stored.",
                mend=f"Keep each part below {_LONGEST} bytes, as quoted in a URL.",
            )
        return place


def _spoken(asset: str, partition: str | None) -> str:
    return asset if partition is None else f"{asset} for {partition}"


def _broken(place: Path, asset: str, partition: str | None) -> RecordError:
    return RecordError(
        f"The reference to {_spoken(asset, partition)} cannot be read from {place}.",
        mend=f"Delete that file and materialize {asset} again.",
    )
