"""What inference cannot know is a doubt with a line to fill in; what cannot be read is an error with its place."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from churn_platform.errors import ContractError, DataFaultError
from churn_platform.features.catalogue import FIXED_COLUMNS, VALUE_COLUMN, catalogue_for
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import Contract, dump_contract, parse_contract
from churn_platform.sources.infer import Inference, infer_contract
from churn_platform.sources.infer_names import MRR
from churn_platform.sources.tables import RESERVED
from tests.sources import company
from tests.sources.conftest import Door

ROWS = 120
RNG = np.random.default_rng(2)


def flat(path: Path, header: str, *columns: list[str], delimiter: str = ";", label: list[str] | None = None) -> Path:
    """A flat file with an id before the given columns and a label after them."""
    told = label or ["yes" if i % 3 == 0 else "no" for i in range(ROWS)]
    rows = zip(*columns, told, strict=True)
    lines = [delimiter.join(("customer_id", *header.split("|"), "churn"))]
    lines += [delimiter.join((f"C{i:04d}", *row)) for i, row in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def numbers(form: str) -> list[str]:
    return [form.format(a=RNG.integers(1, 9), b=RNG.integers(100, 999), c=RNG.integers(10, 99)) for _ in range(ROWS)]


def filled_in(inference: Inference, line: str) -> Contract:
    """The contract with one of the commented lines taken in."""
    text = inference.to_yaml()
    assert text.count(f"# {line}") == 1, text
    return parse_contract(yaml.safe_load(text.replace(f"# {line}", line)))


def test_decimal_commas_are_read(door: Door, tmp_path: Path) -> None:
    file = flat(tmp_path / "f.csv", "umsatz|beitrag", numbers("{a}.{b},{c}"), numbers("{c},{a}"))
    inference = infer_contract(file)
    table = inference.contract.snapshot
    assert table.decimal == ","
    assert {name: column.type for name, column in table.columns.items()} == {"umsatz": "number", "beitrag": "number"}
    assert "such as" in next(d.reason for d in inference.decisions if d.role == "tables.snapshot.decimal")
    rows = door.rows(door.admit(inference.contract, file, ["snapshot"]).current["snapshot"])
    assert all(1000 < row["umsatz"] < 10_000 and 10 <= row["beitrag"] < 100 for row in rows)


def test_a_point_in_a_table_of_commas_is_no_number(tmp_path: Path) -> None:
    amounts = numbers("{c},{a}")
    contract = infer_contract(flat(tmp_path / "f.csv", "fee", amounts)).contract
    broken = flat(tmp_path / "f.csv", "fee", ["12.5", *amounts[1:]])
    (finding,) = check_source(broken, contract).findings
    assert "must be a number, but 1 of 120 rows" in finding.message, "12.5 is not read as 125"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ((numbers("{c},{a}"), numbers("{c}.{a}")), "some numbers have a comma, such as "),
        ((numbers("{a},{b}"), numbers("{c}")), "hold a comma before three digits"),
    ],
    ids=["two marks", "thousands"],
)
def test_an_unclear_mark_is_a_doubt_with_a_line(tmp_path: Path, columns: tuple[list[str], ...], says: str) -> None:
    inference = infer_contract(flat(tmp_path / "f.csv", "fee|other", *columns))
    assert inference.contract.snapshot.decimal == "."
    assert set(inference.contract.snapshot.columns) == {"other"}
    assert any(says in d.reason and d.doubt for d in inference.decisions)
    assert filled_in(inference, 'decimal: ","').snapshot.decimal == ","
    assert filled_in(inference, "fee: {type: number}").snapshot.columns["fee"].type == "number"


def test_headers_that_stand_twice_or_not_at_all(tmp_path: Path) -> None:
    plans = [["a", "b", "c"][i % 3] for i in range(ROWS)]
    file = flat(tmp_path / "f.csv", "plan|plan|", plans, plans[::-1], numbers("{c}"), delimiter=",")
    inference = infer_contract(file)
    assert set(inference.contract.snapshot.columns) == {"plan", "plan_2", "column4"}
    doubts = {d.column: d for d in inference.doubts}
    assert "stands there twice or more; this is column 3" in doubts["plan_2"].reason
    assert "column 4 has no header" in doubts["column4"].reason
    assert "plan" not in doubts
    told = filled_in(inference, 'description: "WHAT COLUMN 3 HOLDS"')
    assert told.snapshot.columns["plan_2"].description == "WHAT COLUMN 3 HOLDS"


def test_names_of_the_platforms_own_are_a_doubt(door: Door, tmp_path: Path) -> None:
    words = [["low", "mid", "high"][i % 3] for i in range(ROWS)]
    header = "event_timestamp|Row_ID|mrr"
    file = flat(tmp_path / "f.csv", header, numbers("{b}"), numbers("{c}"), words)
    inference = infer_contract(file)
    contract = inference.contract
    assert {c.source for c in contract.snapshot.columns.values()} == {"event_timestamp", "Row_ID", "mrr"}
    assert set(contract.snapshot.columns) == {"event_timestamp_2", "Row_ID_2", "mrr_2"}
    assert all("name of the platform's own" in d.reason for d in inference.doubts if d.role.endswith(".source"))
    assert sum(d.line == "MEANING:" for d in inference.decisions) == 3
    assert [feature.name for feature in catalogue_for(contract)] == list(contract.snapshot.columns)
    assert door.admit(contract, file, ["snapshot"]).rows["snapshot"] == ROWS
    assert set(FIXED_COLUMNS) <= set(RESERVED)
    assert VALUE_COLUMN == MRR


def test_revenue_in_capitals_is_called_as_the_platform_calls_it(tmp_path: Path) -> None:
    contract = infer_contract(flat(tmp_path / "f.csv", "MRR", numbers("{b}"))).contract
    assert contract.value_column == "mrr"
    assert contract.snapshot.columns["mrr"].source == "MRR"


@pytest.mark.parametrize("name", ["churn_reason", "exit date", "ChurnScore", "health_score", "predicted"])
def test_names_of_outcomes_are_left_out_with_a_line_to_review(tmp_path: Path, name: str) -> None:
    inference = infer_contract(flat(tmp_path / "f.csv", f"tenure|{name}", numbers("{c}"), numbers("{b}")))
    assert set(inference.contract.snapshot.columns) == {"tenure"}
    (left,) = [d for d in inference.decisions if d.column == name]
    assert left.role == "not read"
    assert left.doubt
    taken = filled_in(inference, str(left.line))
    (column,) = [column for key, column in taken.snapshot.columns.items() if key != "tenure"]
    assert column.type == "integer"
    assert "who says so" in str(column.leak_reviewed), "the leak gate asks for it"


@pytest.mark.parametrize("name", ["score", "Risk", "reason"])
def test_vague_names_are_left_out_with_a_line(tmp_path: Path, name: str) -> None:
    inference = infer_contract(flat(tmp_path / "f.csv", f"tenure|{name}", numbers("{c}"), numbers("{b}")))
    assert set(inference.contract.snapshot.columns) == {"tenure"}
    assert filled_in(inference, f"{name}: {{type: integer}}").snapshot.columns[name].leak_reviewed is None


@pytest.mark.parametrize("name", ["CreditScore", "satisfaction_score", "risk_region", "contract_end_date"])
def test_honest_names_are_read(tmp_path: Path, name: str) -> None:
    inference = infer_contract(flat(tmp_path / "f.csv", name, numbers("{b}")))
    assert set(inference.contract.snapshot.columns) == {name}


def test_a_folder_of_tables_leaves_outcomes_out_with_lines(tmp_path: Path) -> None:
    frames = company.frames()
    frames["accounts"]["churn_score"] = range(len(frames["accounts"]))
    inference = infer_contract(company.write(frames, tmp_path))
    assert "churn_score" not in inference.contract.tables["accounts"].columns
    (left,) = [d for d in inference.decisions if d.column == "accounts.churn_score"]
    taken = filled_in(inference, str(left.line)).tables["accounts"].columns["churn_score"]
    assert (taken.type, taken.temporality) == ("integer", "immutable")
    assert taken.leak_reviewed


# Labels of three values


def test_a_label_of_three_values_says_what_counts_as_stayed(tmp_path: Path) -> None:
    three = [["Churned", "Stayed", "Joined"][i % 3] for i in range(ROWS)]
    inference = infer_contract(flat(tmp_path / "f.csv", "x", numbers("{c}"), label=three))
    assert inference.contract.label.positive == "Churned"
    (doubt,) = [d.doubt for d in inference.doubts if d.role == "label.positive"]
    assert doubt is not None
    assert "'Joined' (40 rows) and 'Stayed' (40 rows) all count as stayed" in doubt
    assert "--positive" in doubt
    with pytest.raises(ContractError, match=r"'churn' that means 'has left': A, B, C") as raised:
        infer_contract(flat(tmp_path / "f.csv", "x", numbers("{c}"), label=["A", "B", "C"] * 40))
    assert "--positive" in raised.value.mend


def test_a_likely_label_of_another_name_is_told_with_its_values(tmp_path: Path) -> None:
    three = [["Churned", "Stayed", "Joined"][i % 3] for i in range(ROWS)]
    file = flat(tmp_path / "f.csv", "Customer Status", three, label=numbers("{c}"))
    with pytest.raises(ContractError, match="looks like a label") as raised:
        infer_contract(_renamed(file, "churn", "tenure"))
    assert "Customer Status ('Churned', 'Joined', 'Stayed')" in raised.value.mend
    assert "--label 'Customer Status' --positive Churned" in raised.value.mend
    assert infer_contract(file, label="Customer Status", positive="Churned").contract.label.positive == "Churned"
    other = flat(tmp_path / "f.csv", "state", ["A", "B", "C"] * 40, label=numbers("{c}"))
    with pytest.raises(ContractError) as raised:
        infer_contract(_renamed(other, "churn", "tenure"))
    assert "state ('A', 'B', 'C')" in raised.value.mend
    assert "--positive" in raised.value.mend


def _renamed(file: Path, old: str, new: str) -> Path:
    head, rest = file.read_text().split("\n", maxsplit=1)
    file.write_text(f"{head.replace(old, new)}\n{rest}")
    return file


# Options and files


@pytest.mark.parametrize("options", [{"label": "churn"}, {"positive": "yes"}, {"id": "account_id"}])
def test_options_are_not_passed_over_where_a_contract_stands(tmp_path: Path, options: dict[str, str]) -> None:
    source = company.write(company.frames(), tmp_path)
    (source / "contract.yaml").write_text(dump_contract(company.contract()))
    with pytest.raises(ContractError, match=r"holds a contract\.yaml, which is taken as it stands: --") as raised:
        infer_contract(source, **options)
    assert "take it out of the folder" in raised.value.mend


def _zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,2\n")


@pytest.mark.parametrize(
    ("content", "says", "mend"),
    [
        (("customers.csv",), r"a zip archive \(of customers\.csv\)", "call it x.csv.zip"),
        (("[Content_Types].xml", "xl/workbook.xml"), r"an Excel workbook \(xlsx\)", "as CSV UTF-8"),
        (("mimetype", "content.xml"), "an OpenDocument spreadsheet", "as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), r"of the old form \(xls\)", "as CSV UTF-8"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>sign in</html>", "a web page", "Download the table again"),
        (b'[{"customer_id": 1}]', "JSON", "as CSV or Parquet"),
        (b"%PDF-1.7 x", "a PDF", "the data behind it"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without its mark", "encoding: utf-16"),
    ],
    ids=["zip", "xlsx", "ods", "xls", "html", "json", "pdf", "utf-16"],
)
def test_files_that_are_no_csv(tmp_path: Path, content: bytes | tuple[str, ...], says: str, mend: str) -> None:
    file = tmp_path / "x.csv"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        _zip(file, *content)
    with pytest.raises(ContractError, match=rf"^x\.csv is not CSV text but .*{says}") as raised:
        infer_contract(file)
    assert mend in raised.value.mend


def test_a_workbook_inside_an_archive_is_named(tmp_path: Path) -> None:
    _zip(tmp_path / "book.xlsx", "[Content_Types].xml", "xl/workbook.xml")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "book.xlsx", "book.xlsx")
    with pytest.raises(ContractError, match=r"book\.xlsx is not CSV text but an Excel workbook"):
        infer_contract(tmp_path / "all.zip")


def ragged(path: Path, rows: int = ROWS) -> Path:
    lines = [f"C{i:05d},{i % 37},{'yes' if i % 3 else 'no'}" for i in range(rows)]
    lines[4] += ",x"
    lines[9] = "C00009,3"
    path.write_text("\n".join(["customer_id,tenure,churn", *lines]) + "\n")
    return path


def test_ragged_lines_are_named_by_their_number(tmp_path: Path) -> None:
    file = ragged(tmp_path / "f.csv")
    with pytest.raises(DataFaultError) as raised:
        infer_contract(file)
    assert raised.value.message == (
        "f.csv: 2 of 120 lines do not have the 3 fields of the header: line 6 (too many fields), line 11 (too few "
        "fields)."
    )
    assert "Put quotes around fields" in raised.value.mend
    contract = infer_contract(ragged(tmp_path / "long.csv", 5_000)).contract
    report = check_source(file, contract)
    (finding,) = report.findings
    assert finding.stops
    assert "each line must have as many fields as the header" in finding.message
    assert finding.message.endswith("See line 6 (too many fields), line 11 (too few fields).")
    assert "Put quotes around fields" in finding.mend


def test_few_ragged_lines_of_many_are_a_doubt(tmp_path: Path) -> None:
    inference = infer_contract(ragged(tmp_path / "f.csv", 5_000))
    (doubt,) = [d for d in inference.doubts if d.role == "tables.snapshot.tolerance"]
    assert re.search(r"2 of 5,000 lines .* line 6 \(too many fields\), line 11", doubt.reason)


def test_lines_cut_at_blanks_are_named_too(tmp_path: Path) -> None:
    rows = [f" {i:03d}  {'Yes' if i % 3 else 'No'}  {i}" for i in range(60)]
    (tmp_path / "flat.txt").write_text("\n".join([" id churn x", *rows[:30], " 999  Yes", *rows[30:]]) + "\n")
    table = {"path": "flat.txt", "delimiter": "whitespace", "entity": "id", "key": ["id"]}
    contract = parse_contract(
        {
            "shape": "snapshot",
            "label": {"source": "column", "column": "churn", "positive": "Yes"},
            "tables": {"snapshot": {**table, "columns": {"x": {"type": "number"}}}},
        }
    )
    (finding,) = check_source(tmp_path, contract).findings
    assert finding.message.endswith("See line 32 (too few fields).")
