"""What people hand over by mistake: one paragraph that says what is wrong and how to mend it, and exit code 1."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from churn_platform import settings
from churn_platform.cli import main as cli

FLAT = "customer_id,tenure,plan,monthly_charges,churn"
CONTRACT = """contract_version: 1
shape: relational
label: {source: churn_events}
tables:
  accounts:
    path: accounts.csv
    entity: account_id
    key: [account_id]
    event_time: created_at
    columns: {industry: {type: category, temporality: immutable}}
  tickets:
    path: tickets.csv
    entity: account_id
    key: [ticket_id]
    event_time: opened_at
    columns: {severity: {type: integer}}
  churn_events:
    path: churn_events.csv
    entity: account_id
    key: [churn_event_id]
    event_time: left_at
    columns: {kind: {type: category}}
"""


@dataclass(frozen=True)
class Told:
    """How a command ended, and what it said on both streams."""

    code: int
    text: str


@pytest.fixture
def churn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """Run the ``churn`` command in this process, as its entry point does."""

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["churn", *arguments])
        settings.reload()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Told(code, said.out + said.err)

    return run


def _flat(folder: Path, *, rows: int = 60, delimiter: str = ",", label: Callable[[int], str] | None = None) -> Path:
    """A flat file of customers, good but for what the arguments spoil."""
    told = label or (lambda i: "yes" if i % 3 == 0 else "no")
    lines = [
        FLAT,
        *(f"C{i:04d},{i * 37 % 59},{'ab'[i % 2]},{5 + i * 7919 % 997 / 11:.2f},{told(i)}" for i in range(rows)),
    ]
    file = folder / "customers.csv"
    file.write_text("\n".join(lines).replace(",", delimiter) + "\n")
    return file


def _tables(folder: Path, **changed: Callable[[list[str]], list[str]]) -> Path:
    """Three tables and their contract, good but for the lines that are changed."""
    tables = {
        "accounts": ["account_id,created_at,industry", *(f"A{i:03d},2024-01-0{1 + i % 9},retail" for i in range(40))],
        "tickets": ["account_id,ticket_id,opened_at,severity"]
        + [f"A{i % 40:03d},T{i},2024-0{3 + i % 3}-10,{1 + i % 4}" for i in range(200)],
        "churn_events": ["account_id,churn_event_id,left_at,kind"]
        + [f"A{i:03d},E{i},2024-05-1{i % 9},voluntary" for i in range(0, 40, 4)],
    }
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(changed.get(name, list)(lines)) + "\n")
    (folder / "contract.yaml").write_text(CONTRACT)
    return folder


def _many_categories(folder: Path) -> Path:
    """A million customers, of whom each has a plan of its own."""
    import duckdb

    file = folder / "customers.parquet"
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            f"COPY (SELECT 'C' || i AS customer_id, 'plan ' || i AS plan, i % 40 AS tenure, "
            f"CASE WHEN i % 3 = 0 THEN 'yes' ELSE 'no' END AS churn FROM range(1000000) AS r(i)) TO '{file}'"
        )
    (folder / "contract.yaml").write_text(
        "contract_version: 1\nshape: snapshot\nlabel: {source: column, column: churn, positive: 'yes'}\n"
        "tables:\n  snapshot:\n    path: customers.parquet\n    entity: customer_id\n    key: [customer_id]\n"
        "    columns: {plan: {type: category}, tenure: {type: integer}}\n"
    )
    return folder


def _empty(folder: Path) -> Path:
    file = folder / "customers.csv"
    file.touch()
    return file


def _twice(folder: Path) -> Path:
    return _tables(folder, tickets=lambda lines: [*lines, *(line[:-1] + "9" for line in lines[1:50])])


def _no_dates(folder: Path) -> Path:
    return _tables(folder, tickets=lambda lines: [lines[0], *(line.replace("2024-0", "Q") for line in lines[1:])])


def _mixed_ids(folder: Path) -> Path:
    """accounts write 7.0 where tickets write 007, as spreadsheets do."""
    return _tables(
        folder,
        accounts=lambda lines: [lines[0], *(f"{i}.0" + line[4:] for i, line in enumerate(lines[1:]))],
        tickets=lambda lines: [line.removeprefix("A") for line in lines],
        churn_events=lambda lines: [line.removeprefix("A") for line in lines],
    )


def _one_class(folder: Path) -> Path:
    return _flat(folder, label=lambda i: "no")


def _no_key(folder: Path) -> Path:
    return _tables(folder, tickets=lambda lines: [lines[0].replace("ticket_id", "number"), *lines[1:]])


@pytest.mark.parametrize(
    ("make", "says", "mend"),
    [
        (lambda folder: folder / "none.csv", "There is no source", "Give the folder or file"),
        (_empty, "is empty", "Deliver the file again"),
        (lambda folder: _flat(folder, delimiter="~"), "has one column only", "'~' here, write a contract"),
        (_no_key, "tickets.csv has no column 'ticket_id'", "Mend the name"),
        (_twice, "column ticket_id must be unique", "Mend the data, or the rule"),
        (_no_dates, "column opened_at must be a time, but 200 of 200 rows", "another form as the column's format"),
        (_one_class, "has one value only", "customers who left and customers who stayed"),
        (_mixed_ids, "The ids are written in two ways: 40 of them, such as '000' here", "deliver ids as text"),
        (_many_categories, "different values is no category", "type text"),
    ],
    ids=["no file", "empty", "delimiter", "key column", "keys", "dates", "one class", "mixed ids", "categories"],
)  # fmt: skip
def test_check(make: Callable[[Path], Path], says: str, mend: str, churn: Callable[..., Told], tmp_path: Path) -> None:
    told = churn("contract", "check", str(make(tmp_path)))
    assert told.code == 1
    assert "Traceback" not in told.text
    assert says in told.text
    assert mend in told.text
    paragraph = next(part for part in told.text.split("\n\n") if says in part)
    assert paragraph.strip().count("\n") <= 1, "the fault on one line, the mend on the next"


def test_the_tables_are_good_but_for_what_is_spoilt(churn: Callable[..., Told], tmp_path: Path) -> None:
    assert churn("contract", "check", str(_tables(tmp_path))).code == 0
    (tmp_path / "flat").mkdir()
    assert churn("contract", "check", str(_flat(tmp_path / "flat"))).code == 0


def _enter(source: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that knows its source, for commands that go on from there."""
    from churn_platform.records.home import Home
    from churn_platform.sources.infer import infer_contract
    from churn_platform.sources.location import save_location

    monkeypatch.setenv("CHURN_HOME", str(home))
    settings.reload()
    save_location(Home.open(home), "churn", source, infer_contract(source).to_yaml())


def test_ten_customers(churn: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _enter(_flat(tmp_path, rows=10), tmp_path / "home", monkeypatch)
    told = churn("materialize", "challenger")
    assert told.code == 1
    error = told.text[told.text.index("Error:") :]
    assert "4 customers left among the rows to learn from; below 50 no probability can be learned" in error
    assert "Bring a file with more customers who have left" in error
    assert error.strip().count("\n") == 0


def test_tables_that_contradict_each_other_stop_with_the_rule_and_the_mend(
    churn: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enter(_mixed_ids(tmp_path), tmp_path / "home", monkeypatch)
    told = churn("materialize", "cross_rules")
    assert told.code == 1
    error = told.text[told.text.index("Error:") :]
    assert "Table tickets: column account_id must name a customer of accounts, but 200 of 200 rows" in error
    assert "`churn contract check` lists such rows" in error
    assert "raise cross_tolerance of tables.tickets" in error
    assert error.strip().count("\n") == 0


def test_a_leak_stops_with_its_evidence_and_the_mend(
    churn: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _flat(tmp_path, rows=200)
    lines = file.read_text().splitlines()
    told_it = [f"{line},{'gone' if line.endswith('yes') else 'here'}{i % 3}" for i, line in enumerate(lines[1:])]
    file.write_text("\n".join([f"{lines[0]},desk", *told_it]) + "\n")
    _enter(file, tmp_path / "home", monkeypatch)
    told = churn("materialize", "training_set")
    assert told.code == 1
    error = told.text[told.text.index("Error:") :]
    assert "The asset training_set failed: desk leaks the outcome" in error
    assert "Or let it pass, where it is honest, by tables.snapshot.columns.desk: leak_reviewed" in error
    assert error.strip().count("\n") == 0


def test_a_full_disk(churn: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_platform.records.store import ContentStore

    def full(self: ContentStore, path: Path, **options: Any) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    _enter(_flat(tmp_path), tmp_path / "home", monkeypatch)
    monkeypatch.setattr(ContentStore, "put_file", full)
    told = churn("materialize", "sources/snapshot")
    assert told.code == 1
    error = told.text[told.text.index("Error:") :]
    assert "The disk is full" in error
    assert "Make room, or set CHURN_HOME to a folder on another disk" in error
    assert error.strip().count("\n") == 0
    assert not list((tmp_path / "home" / "refs").rglob("snapshot*.json")), "what was not written is not referred to"


@pytest.mark.parametrize("text", ["No space left on device", "IO Error: Could not write: No space left on device"])
def test_a_full_disk_is_told_by_libraries_too(text: str) -> None:
    from churn_platform.cli.explain import explained

    told = explained(RuntimeError(text))
    assert told is not None
    assert "The disk is full" in told.message
    assert explained(RuntimeError("something else")) is None
    assert explained(FileNotFoundError(errno.ENOENT, "no such file")) is None


def test_no_permission(churn: Callable[..., Told], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    source = _flat(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    told = churn("contract", "infer", str(source), "--out", str(closed / "contract.yaml"))
    assert told.code == 1
    assert "does not let this program read or write" in told.text
    assert "Give your user access" in told.text


def test_no_permission_is_explained(
    churn: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, also for root: the system's answer is put in its mouth."""
    from churn_platform.records import files

    def closed(path: Path, content: bytes, **options: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(files, "write_atomic", closed)
    told = churn("contract", "infer", str(_flat(tmp_path)), "--out", str(tmp_path / "contract.yaml"))
    assert told.code == 1
    assert "does not let this program read or write" in told.text
    assert "Give your user access" in told.text
