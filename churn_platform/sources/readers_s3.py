"""Files in an S3 bucket, copied to this machine; an object whose ETag has not changed is not read again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from churn_platform.errors import SourceError, SourceMissingError
from churn_platform.records.files import remove, replacing
from churn_platform.sources.readers_extract import Loaded
from churn_platform.sources.readers_manifest import Extract

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

CONNECT_SECONDS, REQUEST_SECONDS, ATTEMPTS = 10, 60, 3
AT_ONCE = 8
"""Objects that are asked for at the same time."""
_REFUSED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE", "HTTP status 403", "EXPIRED")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class StoredObject:
    """An object of a bucket.

    Args:
        key: ``bucket/key``.
        etag: changes with the content.
        size: bytes.
    """

    key: str
    etag: str
    size: int


def file_system() -> S3FileSystem:
    """S3 by the environment, as other tools read it.

    ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` (else the profile or the role of the machine),
    ``AWS_REGION``, ``AWS_ENDPOINT_URL`` for another server than Amazon's, and ``AWS_NO_SIGN_REQUEST=1`` for public
    buckets.
    """
    from pyarrow import fs

    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "request_timeout": REQUEST_SECONDS,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    }
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"):
        options["anonymous"] = True
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["region"] = region
    endpoint = _endpoint()
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        options.setdefault("region", "us-east-1")  # asking Amazon for the region would not help
    return fs.S3FileSystem(**options)


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def list_objects(files: S3FileSystem, url: str) -> list[str]:
    """``bucket/key`` of the objects with content that a URL means: an object, a prefix, or a glob; sorted.

    Raises:
        SourceMissingError: there is no such bucket, object or prefix.
        SourceError: it may not be read.
    """
    from pyarrow import fs

    path = url.removeprefix("s3://").rstrip("/")
    segments = path.split("/")
    fixed = "/".join(segments[: next((i for i, s in enumerate(segments) if _WILD.search(s)), len(segments))])
    try:
        info = files.get_file_info(fixed) if "/" in fixed else None
        if info is not None and info.type == fs.FileType.File:
            found = [info]
        else:
            found = files.get_file_info(fs.FileSelector(fixed, recursive=True))
    except FileNotFoundError as error:
        bucket = files.get_file_info(segments[0])
        raise _failed(url, error, no_bucket=bucket.type == fs.FileType.NotFound) from None
    except OSError as error:
        raise _failed(url, error) from None
    keep = re.compile(_pattern(path)).fullmatch if fixed != path else None
    return sorted(
        item.path
        for item in found
        if item.type == fs.FileType.File and item.size and (keep is None or keep(item.path)) and _is_shown(item.path)
    )


def _is_shown(key: str) -> bool:
    return not PurePosixPath(key).name.startswith((".", "_"))


def _pattern(glob: str) -> str:
    """A regular expression of a glob in which ``*`` stays within a folder and ``**`` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(wild.get(part) or (part if part.startswith("[") else re.escape(part)) for part in parts)


def look_up(files: S3FileSystem, keys: Sequence[str]) -> list[StoredObject]:
    """Size and ETag of objects, without their content."""

    def one(key: str) -> StoredObject:
        try:
            with files.open_input_stream(key) as stream:
                facts = {_text(name).lower(): _text(value) for name, value in (stream.metadata() or {}).items()}
        except OSError as error:
            raise _failed(f"s3://{key}", error) from None
        size = int(facts.get("content-length") or 0)
        etag = facts.get("etag", "").strip('"') or f"{size}-{facts.get('last-modified', '')}"
        return StoredObject(key, etag, size)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, keys))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def download(files: S3FileSystem, key: str, target: Path) -> None:
    """Copy an object to a file, whole or not at all."""
    with replacing(target, durable=False) as path:
        try:
            stream = files.open_input_stream(key)
        except OSError as error:
            raise _failed(f"s3://{key}", error) from None
        with stream, path.open("wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
        path.chmod(0o600)


def load_objects(
    extract: Extract, name: str, path: str, url: str, files: S3FileSystem, *, full: bool = False
) -> Loaded:
    """Bring the copy of one table's objects up to date.

    Args:
        extract: the copy, whose record is written.
        name: the table.
        path: as the contract writes it.
        url: what that means: ``s3://bucket/key-or-glob``.

    Raises:
        SourceMissingError: no object with content matches.
    """
    keys = list_objects(files, url)
    if not keys:
        raise SourceMissingError(
            f"tables.{name}.path: {url} matches no object with content.",
            mend="Mend the path; it may be an object, a prefix, or a glob such as s3://bucket/usage/*.parquet.",
            field=f"tables.{name}.path",
        )
    folder = extract.root / name
    kept: Mapping[str, Any] = extract.tables.get(name, {})
    objects = look_up(files, keys)
    wanted = {folder / _local(item): item for item in objects}
    lacking = [path for path, item in wanted.items() if full or not path.is_file() or path.stat().st_size != item.size]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        fetch = partial(download, files)
        list(pool.map(lambda target: fetch(wanted[target].key, target), lacking))
    names = [target.relative_to(extract.root).as_posix() for target in wanted]
    gone = len(set(kept.get("files", [])) - set(names))
    if kept.get("files") == names and not lacking and kept.get("path") == path:
        return Loaded(name, "unchanged", 0)
    extract.tables[name] = {
        "path": path,
        "url": url,
        "files": names,
        "etags": {item.key: item.etag for item in objects},
    }
    extract.save()
    for file in set(folder.iterdir()) - set(wanted):
        remove(file)
    return Loaded(name, "changed" if kept else "full", len(lacking), deleted=gone)


def _local(item: StoredObject) -> str:
    """The copy's name: another for every content, with the ending that says how it is written."""
    digest = hashlib.sha256(f"{item.key}\n{item.etag}\n{item.size}".encode()).hexdigest()[:16]
    return f"{digest}-{PurePosixPath(item.key).name}"


def _failed(url: str, error: OSError, *, no_bucket: bool = False) -> SourceError:
    text = str(error)
    said = text.partition(" with address")[0].partition(". ")[0].strip()
    server = _endpoint() or "Amazon S3"
    if no_bucket or "NO_SUCH_BUCKET" in text:
        return SourceMissingError(
            f"There is no bucket {url.removeprefix('s3://').split('/')[0]!r} at {server}.",
            mend="Mend the bucket's name; another server than Amazon's is set with AWS_ENDPOINT_URL.",
            field="source",
        )
    if isinstance(error, FileNotFoundError):
        return SourceMissingError(
            f"There is nothing at {url}.", mend="Mend the path in the contract, or the source.", field="source"
        )
    if any(word in text for word in _REFUSED):
        return SourceError(
            f"{url} may not be read with the keys that are set.",
            mend="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of a user who may list and get these objects, or "
            "AWS_NO_SIGN_REQUEST=1 for a public bucket.",
            field="source",
        )
    return SourceMissingError(
        f"{url} cannot be read from {server}: {said}.",
        mend="See AWS_ENDPOINT_URL, AWS_REGION and the network, then run the command again.",
        field="source",
    )
