"""CSV without a header, cut at blanks, packed, and in thousands of daily files."""

from __future__ import annotations

import bz2
import gzip
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import Table, parse_contract
from churn_platform.sources.engine import engine
from churn_platform.sources.readers import locate, read_files, rejected_lines, scans_so_far

CONTENT = b"id,x\n001,2\n002,4\n"
ROWS = [("001", "2"), ("002", "4")]


def _read(*files: Path, **table: Any) -> tuple[list[str], list[tuple[object, ...]], int]:
    with engine() as connection:
        raw = read_files(connection, files, name="t", table=Table(path="t", **table) if table else None)
        mark = scans_so_far(connection)
        rows = connection.execute(f"SELECT * FROM {raw.relation} ORDER BY ALL").fetchall()
        return list(raw.columns), rows, rejected_lines(connection, mark, raw)


def test_no_header_with_names(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("\ufeff001;2.5;2024-01-01\n002;;2024-01-02\n".encode())
    columns, rows, lost = _read(file, header=False, names=["id", "amount", "day"])
    assert columns == ["id", "amount", "day"]
    assert rows == [("001", "2.5", "2024-01-01"), ("002", None, "2024-01-02")]
    assert lost == 0
    assert _read(file, header=False)[0] == ["column1", "column2", "column3"]
    with pytest.raises(ContractError, match=r"tables\.t\.names: a\.csv has 3 columns, cut at ';', and names lists 2"):
        _read(file, header=False, names=["id", "amount"])


def test_a_missing_header_is_found_where_no_contract_says_anything(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("001,19970101,x\n002,19970102,y\n")
    columns, rows, _ = _read(file)
    assert (columns, len(rows)) == (["column1", "column2", "column3"], 2)
    with engine() as connection:
        raw = read_files(connection, (file,), name="t", table=Table(path="a.csv"))
        with pytest.raises(ContractError) as raised:
            raw.column("account_id", role="entity")
    assert "header: false" in raised.value.mend


def test_columns_set_apart_by_blanks(tmp_path: Path) -> None:
    file = tmp_path / "printed.txt"
    file.write_bytes(b' 00001 19970101  1   11.77\r\n\r\n 00002\t19970112 "a b"  77.00  \r\n 00003 1\r\n')
    stated = {"header": False, "names": ["id", "day", "n", "amount"], "delimiter": "whitespace"}
    _, rows, lost = _read(file, **stated)
    assert rows == [("00001", "19970101", "1", "11.77"), ("00002", "19970112", "a b", "77.00")]
    assert lost == 1
    file.write_bytes(b"  id day   n  amount\n 1  2 3 4\n 5  6 7 8\n")
    assert _read(file)[0] == ["id", "day", "n", "amount"]  # found without being stated
    assert _read(file)[1] == [("1", "2", "3", "4"), ("5", "6", "7", "8")]


def test_any_one_character_may_be_stated(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('id^x\n1^"a^b"\n')
    assert _read(file, delimiter="^")[:2] == (["id", "x"], [("1", "a^b")])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("delimiter", "::", "delimiter"),
        ("delimiter", '"', "delimiter"),
        ("names", ["a"], "header: false"),
        ("names", ["a", "A"], "listed twice"),
    ],
)
def test_what_a_contract_may_not_say(field: str, value: object, message: str) -> None:
    stated = {"path": "a.csv", field: value, **({"header": False} if message == "listed twice" else {})}
    contract = {
        "shape": "snapshot",
        "label": {"source": "column", "column": "Churn", "positive": "Yes"},
        "tables": {"snapshot": {"columns": {"x": {"type": "number"}}, **stated}},
    }
    with pytest.raises(ContractError, match=message):
        parse_contract(contract)


def _pack(kind: str, folder: Path) -> Path:
    file = folder / f"a.csv.{kind}"
    if kind == "bz2":
        file.write_bytes(bz2.compress(CONTENT))
    elif kind == "zst":
        with pa.output_stream(str(file), compression="zstd") as stream:
            stream.write(CONTENT)
    else:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../../b.csv", CONTENT[:11])
            archive.writestr("a/b.csv", b"x,id\n4,002\n")
            archive.writestr("__MACOSX/._b.csv", b"\x00\x01")
            archive.writestr("empty/", b"")
    return file


@pytest.mark.parametrize("kind", ["bz2", "zst", "zip"])
def test_packed_files(tmp_path: Path, kind: str) -> None:
    file = _pack(kind, tmp_path)
    assert locate(Table(path="*"), tmp_path, name="t") == (file,)
    assert _read(file)[:2] == (["id", "x"], ROWS)
    assert list(tmp_path.iterdir()) == [file]
    packed = file.read_bytes()
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceMissingError, match="cannot be"):
        _read(file)


def test_encodings_that_are_recoded(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes('id\tprice\r\n1\t"5 €"\r\n'.encode("utf-16"))
    assert _read(file)[:2] == (["id", "price"], [("1", "5 €")])
    file.write_bytes(b"id;x\n1;2")
    with pytest.raises(ContractError, match=r"a\.csv is not written in utf-16"):
        _read(file, encoding="utf-16")
    file.write_bytes(gzip.compress("id;price\n1;5 €\n".encode("cp1252")))
    assert _read(file, encoding="windows-1252")[:2] == (["id", "price"], [("1", "5 €")])
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_packing_is_known_by_content(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    _pack("zst", tmp_path).rename(file)
    assert _read(file)[1] == ROWS


def test_lines_that_end_in_two_ways(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'id,x\n1,"a\r\nb"\n3,c\n')
    assert _read(file) == (["id", "x"], [("1", "a\r\nb"), ("3", "c")], 0)


def test_daily_files_of_which_some_changed(tmp_path: Path) -> None:
    for day in range(1, 31):
        (tmp_path / f"2024-01-{day:02d}.csv").write_text(f"id,day\n{day},2024-01-{day:02d}\n")
    (tmp_path / "2024-02-01.csv").write_text("day,id\n2024-02-01,31\n")
    (tmp_path / "2024-02-02.csv").write_text('id,day,"new ""one"""\n32,2024-02-02,x\n')
    columns, rows, lost = _read(*sorted(tmp_path.iterdir()))
    assert columns == ["id", "day", 'new "one"']
    assert len(rows) == 32
    assert lost == 0
    assert {row[2] for row in rows} == {None, "x"}
    assert {row[0] for row in rows} == {str(number) for number in range(1, 33)}


def test_headless_daily_files_of_another_width_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2024-01-01\n")
    (tmp_path / "b.csv").write_text("1,2024-01-02,x\n")
    with pytest.raises(ContractError, match=r"b\.csv has 3 columns"):
        _read(tmp_path / "a.csv", tmp_path / "b.csv", header=False, names=["id", "day"])


def test_two_thousand_daily_files_are_opened_quickly(tmp_path: Path) -> None:
    lines = "".join(f"{i},{i % 7},some text of a usual length,{i * 1.5}\n" for i in range(200))
    for number in range(2000):
        (tmp_path / f"{number:05d}.csv").write_text("id,n,text,amount\n" + lines)
    files = sorted(tmp_path.iterdir())
    with engine() as connection:
        started = time.process_time()
        raw = read_files(connection, tuple(files), name="t")
        assert time.process_time() - started < 3
        found = connection.execute(f"SELECT count(*) FROM {raw.relation}").fetchone()
    assert found == (400_000,)


def test_a_glob_may_name_any_ending(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(CONTENT)
    assert locate(Table(path="*.dat"), tmp_path, name="t") == (tmp_path / "a.dat",)


def test_miscut_lines_are_faults_of_the_table(tmp_path: Path) -> None:
    rows = "".join(f" {i:03d}  {'Yes' if i % 3 else 'No'}  {i}\n" for i in range(60))
    (tmp_path / "flat.txt").write_text(rows + " 999  Yes\n")
    contract = parse_contract(
        {
            "shape": "snapshot",
            "label": {"source": "column", "column": "left", "positive": "Yes"},
            "tables": {
                "snapshot": {
                    "path": "flat.txt", "header": False, "names": ["id", "left", "x"], "delimiter": "whitespace",
                    "entity": "id", "key": ["id"], "columns": {"x": {"type": "number"}},
                }
            },
        }
    )  # fmt: skip
    report = check_source(tmp_path, contract)
    (finding,) = [finding for finding in report.findings if finding.fault and finding.fault.rule == "fields"]
    assert finding.fault is not None
    assert finding.fault.rows == 1
    assert not report.passed
