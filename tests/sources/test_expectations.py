"""Great Expectations from the same contract: they can fail, and their pages hold no raw id and load "
"nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.sources.door import Admission
from churn_platform.sources.expectations import expect, suite
from churn_platform.sources.tables import TablePart, TableVersion
from tests.sources import company
from tests.sources.conftest import Door, open_door

MONTHS = ("2024-05-01",)


@pytest.fixture(scope="module")
def admitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Door, Admission]:
    root = tmp_path_factory.mktemp("expectations")
    door = open_door(root / "home")
    source = company.write(company.frames(), root / "source")
    return door, door.admit(company.contract(), source, MONTHS, expectations=True)


def test_clean_tables_meet_them(admitted: tuple[Door, Admission]) -> None:
    _, admission = admitted
    assert set(admission.expectations) == set(company.CONTRACT["tables"])
    for table, summary in admission.expectations.items():
        assert summary["success"], (table, summary)
        assert summary["evaluated"] == len(suite(table, company.contract().tables[table]))
        assert summary["rows"] == admission.current[table].rows


def test_pages_are_whole_and_hold_no_id(admitted: tuple[Door, Admission]) -> None:
    door, _ = admitted
    folder = door.home.reports / "expectations"
    index = (folder / "index.html").read_text()
    links = re.findall(r'<a href="([^"#]+)"', index)
    assert len(links) == len(company.CONTRACT["tables"])
    assert all((folder / link).is_file() for link in links)
    for page in folder.rglob("*.html"):
        text = page.read_text()
        assert "ACME-" not in text
        assert not re.search(r"""(src|href)=["']?https?://|url\(["']?https?://|<script""", text), page


def test_a_flaw_past_the_door_is_seen(admitted: tuple[Door, Admission], tmp_path: Path) -> None:
    door, admission = admitted
    version = admission.current["usage"]
    table = pa.concat_tables([pq.read_table(path) for path in version.paths(door.store)])
    raw = pa.array(["ACME-00001"] * table.num_rows)
    bad = table.set_column(table.schema.get_field_index("customer_id"), "customer_id", raw)
    pq.write_table(bad, tmp_path / "bad.parquet")
    digest = door.store.put_file(tmp_path / "bad.parquet")
    flawed = TableVersion("usage", "2024-05-01", (TablePart("2024-05-01", digest, table.num_rows),))
    summary = expect(company.contract(), {"usage": flawed}, store=door.store, home=door.home)["usage"]
    assert not summary["success"]
    assert summary["failed"] == ["customer_id: expect_column_values_to_match_regex"]
