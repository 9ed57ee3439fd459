"""CSV of every kind, Parquet, folders and globs."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import Table
from churn_platform.sources.engine import engine
from churn_platform.sources.readers import (
    locate,
    read_files,
    rejected_lines,
    scans_so_far,
    sniff_encoding,
    sniff_header,
)


def _read(*files: Path, expected: tuple[str, ...] = ()) -> tuple[list[str], list[tuple[object, ...]], int]:
    with engine() as connection:
        raw = read_files(connection, files, name="t", expected=expected)
        mark = scans_so_far(connection)
        rows = connection.execute(f"SELECT * FROM {raw.relation} ORDER BY ALL").fetchall()
        return list(raw.columns), rows, rejected_lines(connection, mark)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "a.csv"
    lines = [["id", "name", "x"], ["001", f'"a{delimiter}b"', "1"], ["002", '"say ""hi"""', ""]]
    file.write_text("\n".join(delimiter.join(line) for line in lines))
    columns, rows, lost = _read(file)
    assert columns == ["id", "name", "x"]
    assert rows == [("001", f"a{delimiter}b", "1"), ("002", 'say "hi"', None)]
    assert lost == 0


def test_the_delimiter_that_gives_the_expected_names_wins(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id;a,b,c,d\n1;2,3,4,5\n")
    assert sniff_header(file, "utf-8") == (",", ("id;a", "b", "c", "d"))
    assert sniff_header(file, "utf-8", expected=["ID"])[0] == ";"


def test_encodings_and_byte_order_mark(tmp_path: Path) -> None:
    utf, latin, wide = tmp_path / "u.csv", tmp_path / "l.csv", tmp_path / "w.csv"
    utf.write_bytes("\ufeffid,city\n1,Zürich\n".encode())
    latin.write_bytes("id,city\n2,Zürich\n".encode("latin-1"))
    wide.write_bytes("id,city\n2,Zürich\n".encode("utf-16"))
    assert (sniff_encoding(utf), sniff_encoding(latin)) == ("utf-8", "latin-1")
    assert _read(utf, latin)[:2] == (["id", "city"], [("1", "Zürich"), ("2", "Zürich")])
    assert _read(wide)[:2] == (["id", "city"], [("2", "Zürich")])


def test_gzip_and_a_truncated_archive(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    packed = gzip.compress(b"id,x\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(5000)))
    file.write_bytes(packed)
    assert len(_read(file)[1]) == 5000
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceMissingError, match="cannot be read"):
        _read(file)


def test_lines_that_cannot_be_cut_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,x\n1,2\n3\n4,5,6\n7,8\n")
    _, rows, lost = _read(file)
    assert rows == [("1", "2"), ("7", "8")]
    assert lost == 2


def test_repeated_and_empty_names_get_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,x,X,\n1,2,3,4\n")
    assert _read(file)[0] == ["id", "x", "X_2", "column4"]


def test_parts_with_columns_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id,x\n1,2\n")
    (tmp_path / "2.csv").write_text("x;id;new\n4;3;5\n")
    columns, rows, _ = _read(tmp_path / "1.csv", tmp_path / "2.csv")
    assert dict(zip(columns, rows[0], strict=True)) == {"id": "1", "x": "2", "new": None}
    assert dict(zip(columns, rows[1], strict=True)) == {"id": "3", "x": "4", "new": "5"}


def test_file_folder_and_glob(tmp_path: Path) -> None:
    folder = tmp_path / "usage" / "2024"
    folder.mkdir(parents=True)
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("id\n1\n")
    (tmp_path / "usage" / "notes.md").write_text("not a table")
    (tmp_path / "usage" / ".hidden.csv").write_text("id\n1\n")
    (tmp_path / "usage" / "_SUCCESS").write_text("")

    def found(path: str) -> list[str]:
        return [file.name for file in locate(Table(path=path), tmp_path, name="usage")]

    assert found("usage") == found("usage/*/*.csv") == ["a.csv", "b.csv"]
    assert found("usage/2024/a.csv") == ["a.csv"]
    (folder / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(ContractError, match="CSV and Parquet files side by side"):
        found("usage")


def test_a_bracket_in_a_name_is_no_wildcard(tmp_path: Path) -> None:
    file = tmp_path / "part[1]*.csv"
    file.write_text("id\n1\n")
    assert _read(file)[1] == [("1",)]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="There is no source"):
        locate(Table(path="a.csv"), tmp_path / "none", name="usage")
    with pytest.raises(SourceMissingError, match=r"tables\.usage\.path: 'a\.csv' matches no CSV") as raised:
        locate(Table(path="a.csv"), tmp_path, name="usage")
    assert raised.value.field == "tables.usage.path"
    empty = tmp_path / "a.csv"
    empty.touch()
    with pytest.raises(SourceMissingError, match="is empty"):
        _read(empty)
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"PAR1 but no more")
    with pytest.raises(ContractError, match="cannot be read as parquet"):
        _read(broken)


def test_a_missing_column_is_named_with_its_neighbours(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("account_id, Usage_Date ,logins\n1,2024-01-01,3\n")
    with engine() as connection:
        raw = read_files(connection, (file,), name="usage")
        assert raw.column("usage_date", role="event_time") == " Usage_Date "
        with pytest.raises(ContractError, match=r"tables\.usage\.entity: a\.csv has no column 'acount_id'") as raised:
            raw.column("acount_id", role="entity")
    assert "account_id" in raised.value.mend


def test_one_column_only_says_delimiter(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("account_id^logins\n1^3\n")
    with engine() as connection:
        raw = read_files(connection, (file,), name="usage")
        with pytest.raises(ContractError) as raised:
            raw.column("account_id", role="entity")
    assert "delimiter" in raised.value.mend
