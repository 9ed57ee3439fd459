"""Inference for a database or a bucket: samples are brought here and judged like files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import parse_contract, plain
from churn_platform.sources.inference import NOT_READ, Decision, Inference
from churn_platform.sources.readers_extract import read_to
from churn_platform.sources.readers_protocol import TableFacts, TableReader, open_reader
from churn_platform.sources.readers_url import SourceUrl
from churn_platform.sources.remote import work_folder

SAMPLE = 200_000
"""Rows that are looked at in each table."""
SAMPLE_FILES = 3
"""Objects that are looked at in each folder of a bucket."""
UPDATED = ("updated_at", "modified_at", "last_modified", "last_updated_at", "changed_at", "row_updated_at")
DELETED = ("deleted_at", "is_deleted", "_deleted")


def infer_url(
    url: SourceUrl, *, label: str | None = None, positive: str | None = None, id: str | None = None
) -> Inference:
    """Propose the contract of a database's schema or of a bucket. See
    :func:`churn_platform.sources.infer.infer_contract`.

    Raises:
        SourceError: it is not there, or may not be read.
        ContractError: several schemas or columns may be meant; the message lists them.
    """
    from churn_platform.sources.infer import infer_contract

    with work_folder() as folder:
        if url.is_bucket:
            _sample_bucket(url, folder)
            found = infer_contract(folder, label=label, positive=positive, id=id)
            return _with_source(found, url, {}, {})
        with open_reader(url) as reader:
            facts = _sample_tables(url, reader, folder)
            lengths = {name: reader.count(fact.name) for name, fact in facts.items()} if len(facts) == 1 else {}
        if lengths and not any(lengths.values()):
            raise SourceMissingError(
                f"The table {next(iter(facts.values())).name} is empty.", mend="Fill it, or name another schema."
            )
        found = infer_contract(folder, label=label, positive=positive, id=id)
        return _with_source(found, url, {f"{name}.parquet": fact.name for name, fact in facts.items()}, facts)


def schema_tables(url: SourceUrl, reader: TableReader) -> list[str]:
    """The tables of the one schema that is meant: the URL's, else ``public``, else the only one.

    Raises:
        SourceMissingError: there is no table.
        ContractError: several schemas may be meant.
    """
    by_schema: dict[str, list[str]] = {}
    for table in reader.tables():
        by_schema.setdefault(table.rpartition(".")[0], []).append(table)
    wanted = url.option("schema") or ("public" if "public" in by_schema else None)
    if wanted is None and len(by_schema) == 1:
        wanted = next(iter(by_schema))
    if wanted is None and by_schema:
        raise ContractError(
            f"The database {url.database} has several schemas: {', '.join(sorted(by_schema))}.",
            mend="Say which one by adding ?schema=NAME to the URL.",
            field="source",
        )
    if wanted not in by_schema:
        where = f"schema {wanted} of the database" if wanted else "database"
        names = f"It may read the schemas {', '.join(sorted(by_schema))}" if by_schema else "It may read none"
        raise SourceMissingError(
            f"The {where} {url.database} has no table that this user may read.",
            mend=f"{names}. Name another schema with ?schema=NAME, or GRANT USAGE ON SCHEMA and SELECT ON its tables.",
            field="source",
        )
    return by_schema[wanted]


def _sample_tables(url: SourceUrl, reader: TableReader, folder: Path) -> dict[str, TableFacts]:
    """Write a file of sample rows for each table; the tables by the files' stems."""
    facts: dict[str, TableFacts] = {}
    for table in schema_tables(url, reader):
        described = reader.describe(table)
        columns = [column for column, type in described.columns.items() if type is not None]
        stem = table.rpartition(".")[2].replace("/", "_")
        if columns:
            read_to(reader, described, columns, folder / f"{stem}.parquet", limit=SAMPLE)
            facts[stem] = described
    return facts


def _sample_bucket(url: SourceUrl, folder: Path) -> None:
    """Copy the first objects of each folder below the URL."""
    from churn_platform.sources.infer import CONTRACT_FILE
    from churn_platform.sources.readers import CSV_SUFFIXES, PARQUET_SUFFIXES
    from churn_platform.sources.readers_s3 import download, file_system, list_objects

    files = file_system()
    prefix = url.text.removeprefix("s3://").rstrip("/") + "/"
    seen: dict[str, int] = {}
    for key in list_objects(files, url.text):
        relative = key.removeprefix(prefix) if key.startswith(prefix) else key.rpartition("/")[2]
        group = relative.split("/")[0] if "/" in relative else ""
        seen[group] = seen.get(group, 0) + 1
        if group and seen[group] > SAMPLE_FILES:
            continue
        if relative == CONTRACT_FILE or relative.lower().endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES)):
            download(files, key, folder / relative)
    if not any(folder.iterdir()):
        raise SourceMissingError(
            f"{url} holds no CSV or Parquet object.", mend="Give the prefix of the tables.", field="source"
        )


def _with_source(
    found: Inference, url: SourceUrl, names: Mapping[str, str], facts: Mapping[str, TableFacts]
) -> Inference:
    """The inference with the URL, the tables' own names in the place of sample files, and the marks of changes."""
    value: dict[str, Any] = plain(found.contract)
    decisions = [_renamed(decision, names) for decision in found.decisions]
    by_name = {fact.name: fact for fact in facts.values()}
    for name, table in value["tables"].items():
        table["path"] = names.get(table["path"], table["path"])
        fact = by_name.get(table["path"])
        if fact is not None:
            decisions += _changes(name, table, fact)
    decisions.append(Decision("source", None, "where the tables stand; the password comes from the environment"))
    tables = value.pop("tables")
    contract = parse_contract({**value, "source": url.text, "tables": tables})
    return replace(found, contract=contract, decisions=tuple(decisions))


def _changes(name: str, table: dict[str, Any], fact: TableFacts) -> list[Decision]:
    columns = {column.casefold(): column for column in fact.columns}
    decisions = []
    updated = next((columns[c] for c in UPDATED if c in columns), None)
    place = f"tables.{name}"
    if updated is not None:
        table["watermark"] = updated
        decisions.append(
            Decision(f"{place}.watermark", updated, "its name says that it grows with each change", "does it, always?")
        )
    deleted = next((columns[c] for c in DELETED if c in columns), None)
    if deleted is not None:
        table["deleted_at"] = deleted
        decisions.append(Decision(f"{place}.deleted_at", deleted, "its name says that it marks deleted rows"))
    if not table.get("key") and fact.key and table.get("entity"):
        table["key"] = list(fact.key)
        decisions = [Decision(f"{place}.key", fact.key[0], "the database's primary key"), *decisions]
    return decisions


def _renamed(decision: Decision, names: Mapping[str, str]) -> Decision:
    if decision.role == NOT_READ and decision.column is not None and decision.column in names:
        return replace(decision, column=names[decision.column])
    return decision
