"""``churn contract infer``: propose the contract of a flat file or of a folder of tables, with reasons and
doubts."""

from __future__ import annotations

from pathlib import Path

from churn_platform.errors import SourceMissingError
from churn_platform.settings import settings
from churn_platform.sources.contract import SNAPSHOT_TABLE, load_contract
from churn_platform.sources.engine import engine
from churn_platform.sources.infer_flat import infer_flat
from churn_platform.sources.infer_relational import infer_relational, recognise
from churn_platform.sources.inference import Decision, Inference
from churn_platform.sources.profile import profile_table
from churn_platform.sources.readers import read_files

__all__ = ["CONTRACT_FILE", "Decision", "Inference", "infer_contract"]

CONTRACT_FILE = "contract.yaml"


def infer_contract(
    path: Path, *, label: str | None = None, positive: str | None = None, id: str | None = None
) -> Inference:
    """Propose a contract.

    A folder with a ``contract.yaml`` has been described already: that contract is taken as it is. A folder
    whose files have the names of tables is relational; a file, or a folder with a single one, is a snapshot.

    Args:
        path: a file or a folder.
        label: the label column of a flat file.
        positive: the label's value that means "has left".
        id: the column with the customer's id.

    Raises:
        SourceMissingError: there is nothing to read.
        ContractError: several columns may have a role, or none may; the message lists the candidates.
    """
    if not path.exists():
        raise SourceMissingError(f"There is no source {path}.", mend="Give the folder or file that holds the tables.")
    if path.is_dir() and (path / CONTRACT_FILE).is_file():
        contract = load_contract(path / CONTRACT_FILE)
        return Inference(contract, (Decision("contract", None, f"{CONTRACT_FILE} stands in the folder"),))
    found = recognise(path) if path.is_dir() else None
    with engine() as connection:
        if found is not None and found.tables:
            return infer_relational(connection, path, found, problem=settings().problem)
        file = path if found is None else found.single(path)
        expected = [name for name in (label, id) if name]
        raw = read_files(connection, (file,), name=SNAPSHOT_TABLE, expected=expected)
        profiles = profile_table(connection, raw)
        if not any(profile.rows for profile in profiles.values()):
            raise SourceMissingError(f"{file} has a header but no row.", mend="Deliver the file again, whole.")
        return infer_flat(connection, raw, profiles, label=label, positive=positive, id=id, problem=settings().problem)
