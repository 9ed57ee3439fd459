"""Sources that are not files of this machine: brought here first, then read like any folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from churn_platform.errors import ContractError
from churn_platform.records.files import remove
from churn_platform.records.owner import scratch
from churn_platform.sources.contract import Contract
from churn_platform.sources.readers_extract import Loaded, load_tables, tables_of, writing
from churn_platform.sources.readers_manifest import Extract
from churn_platform.sources.readers_url import SourceUrl, is_remote, parse_source

Progress = Callable[[str, float], None]


def needs_copy(contract: Contract, origin: Path | SourceUrl) -> bool:
    """Whether a table of the contract has to be brought to this machine."""
    return isinstance(origin, SourceUrl) or any(is_remote(table.path) for table in tables_of(contract).values())


def bring(
    contract: Contract,
    origin: Path | SourceUrl,
    root: Path,
    *,
    full: bool = False,
    progress: Progress | None = None,
) -> dict[str, Loaded]:
    """Bring the local copy of a source up to date; only what has changed is read. The folder then stands for it.

    Args:
        origin: what the contract's paths are relative to: a database, a bucket, or a folder.
        root: the folder of the copy. It will hold raw customer ids.
        full: read everything again.
        progress: called with the stage in words and its share done, in [0, 1].

    Raises:
        SourceError: the source, a table or a column is not there or may not be read.
        HomeError: the copy cannot be written.
    """
    tables = tables_of(contract)
    buckets = {
        name: origin.join(table.path) if isinstance(origin, SourceUrl) and origin.is_bucket else table.path
        for name, table in tables.items()
        if is_remote(table.path) or (isinstance(origin, SourceUrl) and origin.is_bucket)
    }
    for name, url in buckets.items():
        if not url.startswith("s3://"):
            raise ContractError(
                f"tables.{name}.path: {url} is no path that is read.",
                mend="Write s3://bucket/key-or-glob, a path relative to the source, or schema.table of a database.",
                field=f"tables.{name}.path",
            )
    others = [name for name in tables if name not in buckets]
    done: dict[str, Loaded] = {}
    with writing(root):
        _prepare(contract, origin, root)
        if isinstance(origin, SourceUrl) and others:
            done |= load_tables(contract, origin, root, tables=others, full=full, progress=progress)
        extract = Extract.find(root) or Extract(root, str(origin))
        if buckets:
            from churn_platform.sources.readers_s3 import file_system, load_objects

            files = file_system()
            for number, (name, url) in enumerate(buckets.items()):
                if progress is not None:
                    progress(f"read {url}", number / len(buckets))
                done[name] = load_objects(extract, name, tables[name].path, url, files, full=full)
    return done


def _prepare(contract: Contract, origin: Path | SourceUrl, root: Path) -> None:
    """A record of this origin, without tables that the contract has no longer."""
    base = None if isinstance(origin, SourceUrl) else str(origin)
    extract = Extract.find(root)
    if extract is None or extract.origin != str(origin):
        for folder in root.iterdir():
            remove(folder)
        extract = Extract(root, str(origin), base)
    for name in set(extract.tables) - set(tables_of(contract)):
        del extract.tables[name]
        remove(root / name)
    extract.base = base
    extract.save()


@contextmanager
def local_copy(contract: Contract, origin: Path | SourceUrl, *, tmp: Path | None = None) -> Iterator[Path]:
    """A folder that stands for a source while the block runs: the source itself where it is of this machine."""
    if not needs_copy(contract, origin):
        assert isinstance(origin, Path)  # noqa: S101 - needs_copy says so
        yield origin
        return
    with work_folder(tmp) as root:
        bring(contract, origin, root)
        yield root


@contextmanager
def opened(source: str, contract: Contract | None = None) -> Iterator[tuple[Path, Contract | None]]:
    """The folder that stands for a source while the block runs, and its contract.

    Args:
        contract: what the tables mean; that of a database or a bucket is inferred where it is not given.
    """
    origin = parse_source(source)
    if contract is None and isinstance(origin, SourceUrl):
        from churn_platform.sources.infer import infer_contract

        contract = infer_contract(origin).contract
    if contract is None:
        yield Path(str(origin)), None
        return
    with local_copy(contract, origin) as folder:
        yield folder, contract


@contextmanager
def work_folder(tmp: Path | None = None) -> Iterator[Path]:
    """A folder that is removed at the end, or, after a kill, when the door next opens."""
    folder = scratch("source", tmp)
    try:
        yield folder
    finally:
        remove(folder)
