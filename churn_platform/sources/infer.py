"""``churn contract infer``: propose the contract of a flat file or of a folder of tables, with reasons and
doubts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from churn_platform.errors import ContractError, DataFaultError, SourceMissingError
from churn_platform.settings import settings
from churn_platform.sources.contract import SNAPSHOT_TABLE, Table, load_contract
from churn_platform.sources.decimal_mark import read_by_mark
from churn_platform.sources.engine import engine
from churn_platform.sources.infer_flat import LABEL_NAMES, infer_flat
from churn_platform.sources.infer_purchases import infer_purchases, looks_like_purchases, one_table
from churn_platform.sources.infer_relational import SAMPLE, Found, infer_relational, recognise
from churn_platform.sources.inference import Decision, Inference
from churn_platform.sources.profile import FEW
from churn_platform.sources.readers import PLACES, RawTable, read_files, rejected_lines, rejected_places, scans_so_far
from churn_platform.sources.readers_url import SourceUrl

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.profile import Profile

__all__ = ["CONTRACT_FILE", "Decision", "Inference", "infer_contract"]

CONTRACT_FILE = "contract.yaml"


def infer_contract(
    path: Path | SourceUrl, *, label: str | None = None, positive: str | None = None, id: str | None = None
) -> Inference:
    """Propose a contract.

    A folder with a ``contract.yaml`` has been described already: that contract is taken as it is. A folder
    whose files have the names of tables is relational; so is a log of purchases, in one file or in many of one
    form. Any other file, or folder with a single one, is a snapshot.

    Args:
        path: a file or a folder; or the URL of a database or of a bucket.
        label: the label column of a flat file.
        positive: the label's value that means "has left".
        id: the column with the customer's id.

    Raises:
        SourceMissingError: there is nothing to read.
        ContractError: several columns may have a role, or none may; the message lists the candidates.
    """
    if isinstance(path, SourceUrl):
        from churn_platform.sources.infer_postgres import infer_url

        return infer_url(path, label=label, positive=positive, id=id)
    if not path.exists():
        raise SourceMissingError(f"There is no source {path}.", mend="Give the folder or file that holds the tables.")
    if path.is_dir() and (path / CONTRACT_FILE).is_file():
        _no_options(path, {"label": label, "positive": positive, "id": id})
        contract = load_contract(path / CONTRACT_FILE)
        return Inference(contract, (Decision("contract", None, f"{CONTRACT_FILE} stands in the folder"),))
    found = recognise(path) if path.is_dir() else None
    with engine() as connection:
        if found is not None and found.tables:
            return infer_relational(connection, path, found, problem=settings().problem, id=id)
        purchases = _purchases(connection, path, found, label=label, id=id)
        if purchases is not None:
            return purchases
        file = path if found is None else found.single(path)
        expected = [name for name in (label, id) if name]
        raw = read_files(connection, (file,), name=SNAPSHOT_TABLE, expected=expected)
        if len(raw.columns) == 1:
            (only,) = raw.columns
            raise ContractError(
                f"{file} has one column only, {only[:60]!r}.",
                mend="If its fields are set apart by something else than a comma, semicolon, tab or bar, write a "
                "contract that states the delimiter.",
                field="delimiter",
            )
        mark = scans_so_far(connection)
        marked = read_by_mark(connection, raw, table=SNAPSHOT_TABLE)
        rows = next(iter(marked.profiles.values())).rows
        cut = _ragged(connection, mark, raw, rows)
        if not rows:
            raise SourceMissingError(f"{file} has a header but no row.", mend="Deliver the file again, whole.")
        flat = infer_flat(connection, raw, marked, label=label, positive=positive, id=id, problem=settings().problem)
        return replace(flat, decisions=(*flat.decisions, *cut))


def _ragged(connection: duckdb.DuckDBPyConnection, mark: int, raw: RawTable, rows: int) -> tuple[Decision, ...]:
    """The doubt about lines that cannot be cut into columns.

    Raises:
        DataFaultError: there are more than the door would let pass.
    """
    lost = rejected_lines(connection, mark, raw)
    if not lost:
        return ()
    places = ", ".join(rejected_places(connection, mark, raw))
    total = rows + lost
    said = f"{lost:,} of {total:,} lines do not have the {len(raw.columns)} fields of the header: {places}"
    said += " …" if lost > PLACES else ""
    if lost > Table.model_fields["tolerance"].default * total:
        raise DataFaultError(
            f"{raw.title}: {said}.",
            mend="Put quotes around fields that hold the delimiter or a line break, close every quote, and deliver the "
            "file again; or write a contract whose tolerance lets such lines be left out.",
            table=SNAPSHOT_TABLE,
            rule="fields",
            share=lost / total,
        )
    return (Decision("tables.snapshot.tolerance", None, said, "they are left out: may they?"),)


def _no_options(folder: Path, options: dict[str, str | None]) -> None:
    """Stop where options would be passed over: a contract in the folder says already what they would say.

    Raises:
        ContractError
    """
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise ContractError(
            f"{folder} holds a {CONTRACT_FILE}, which is taken as it stands: {' and '.join(given)} changes nothing.",
            mend=f"Mend {CONTRACT_FILE}, or take it out of the folder to infer a new one; a file of the folder can be "
            "given by its own path.",
            field=given[0].removeprefix("--"),
        )


def _purchases(
    connection: duckdb.DuckDBPyConnection, path: Path, found: Found | None, *, label: str | None, id: str | None
) -> Inference | None:
    """The contract of a log of purchases, where the source is one."""
    files = (path,) if found is None else tuple(file for file in found.others if file.is_file())
    if label is not None or not files:
        return None
    raw = one_table(connection, files)
    if raw is None:
        return None
    profiles = read_by_mark(connection, raw, table="orders", limit=SAMPLE).profiles
    if any(_is_label(profile) for profile in profiles.values()) or not looks_like_purchases(profiles):
        return None
    folder = path if path.is_dir() else path.parent
    return infer_purchases(connection, raw, folder, problem=settings().problem, id=id)


def _is_label(profile: Profile) -> bool:
    return any(pattern.fullmatch(profile.joined) for pattern in LABEL_NAMES) and profile.distinct <= FEW
