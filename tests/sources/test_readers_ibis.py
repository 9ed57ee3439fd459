"""Another Ibis backend (DuckDB's own files): what a warehouse needs is one module."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from churn_platform.errors import SourceMissingError
from churn_platform.sources.infer import infer_contract
from churn_platform.sources.readers_extract import Loaded
from churn_platform.sources.readers_protocol import open_reader
from churn_platform.sources.readers_url import SourceUrl, parse_source
from churn_platform.sources.remote import bring
from tests.sources import company, database
from tests.sources.conftest import Door

# ibis 12 still calls what DuckDB 1.5 has renamed
pytestmark = pytest.mark.filterwarnings(r"ignore:fetch_(arrow_table|record_batch)\(\) is deprecated:DeprecationWarning")
MONTHS = ("2024-03-01", "2024-05-01", "2024-06-01")


@pytest.fixture
def url(tmp_path: Path) -> SourceUrl:
    with duckdb.connect(str(tmp_path / "company.duckdb")) as connection:
        for name, frame in company.frames().items():
            table = frame.assign(updated_at=frame["ingested_at"]) if name == "usage" else frame
            connection.register("frame", table)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    found = parse_source(f"duckdb://{tmp_path}/company.duckdb")
    assert isinstance(found, SourceUrl)
    return found


def test_the_same_digests_as_files_and_only_what_changed(door: Door, tmp_path: Path, url: SourceUrl) -> None:
    files = company.write(company.frames(), tmp_path / "files")
    expected = door.admit(company.contract(), files, MONTHS)
    contract, root = database.contract(schema="main"), tmp_path / "extract"
    rows = bring(contract, url, root)["usage"].rows or 0
    assert door.admit(contract, root, MONTHS).digests == expected.digests
    with duckdb.connect(str(tmp_path / "company.duckdb")) as connection:
        newest, window = connection.execute(
            "SELECT max(updated_at), count(*) FILTER (WHERE updated_at >= (SELECT max(updated_at) FROM usage) "
            "- INTERVAL 1 DAY) FROM usage"
        ).fetchone() or (None, 0)
        changed = connection.execute(
            "UPDATE usage SET logins = 50, updated_at = ? WHERE usage_date < '2024-02-01'", [newest]
        ).fetchone()
    assert changed is not None
    assert changed[0] > 10
    assert bring(contract, url, root)["usage"] == Loaded("usage", "changed", changed[0] + window, rows=rows)
    bring(contract, url, tmp_path / "whole")
    found, expected = (door.admit(contract, folder, MONTHS) for folder in (root, tmp_path / "whole"))
    assert found.digests == expected.digests


def test_infer_and_errors(tmp_path: Path, url: SourceUrl) -> None:
    contract = infer_contract(url).contract
    assert contract.tables["usage"].path == "main.usage"
    assert contract.source == url.text
    with open_reader(url) as reader:
        assert reader.count("USAGE") == reader.count("main.usage")
        with pytest.raises(SourceMissingError, match=r"There is no table main\.usages") as raised:
            reader.describe("main.usages")
    assert "main.usage" in raised.value.mend
    with pytest.raises(SourceMissingError, match="There is no DuckDB file"), open_reader(SourceUrl("duckdb:///none")):
        pass
    (tmp_path / "broken.duckdb").write_text("x")
    with (
        pytest.raises(SourceMissingError, match="cannot be opened"),
        open_reader(SourceUrl(f"duckdb://{tmp_path}/broken.duckdb")),
    ):
        pass


def test_unknown_kinds_of_sources() -> None:
    with pytest.raises(SourceMissingError, match="oracle:// is no source that is read") as raised:
        parse_source("oracle://host/db")
    assert "postgresql://, duckdb://, s3://" in raised.value.mend
    assert parse_source("C:/tables") == Path("C:/tables")
    assert parse_source("~/tables") == Path("~/tables").expanduser()
