"""The snapshot shape through the same door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from churn_platform.errors import ContractError
from churn_platform.sources.contract import parse_contract
from tests.sources.conftest import Door

FLAT: dict[str, Any] = {
    "shape": "snapshot",
    "label": {"source": "column", "column": "Churn", "positive": "Yes"},
    "tables": {
        "snapshot": {
            "path": "flat.csv",
            "entity": "id",
            "key": ["id"],
            "columns": {
                "tenure": {"type": "integer"},
                "Total_Charges": {"type": "number", "source": "Total Charges"},
                "senior": {"type": "boolean"},
                "plan": {"type": "category"},
            },
        }
    },
}
FLAT_CSV = (
    "id,tenure,Total Charges,senior,plan,Churn\n"
    "a,1, ,Yes,basic,Yes\nb,2,10.5,No,pro,No\nc,3,11,Yes,pro,No\nd,3,11,Yes,pro,No\n"
)


def test_a_flat_file_goes_through_the_same_door(door: Door, tmp_path: Path) -> None:
    (tmp_path / "flat.csv").write_text(FLAT_CSV)
    contract = parse_contract(FLAT)
    for source in (tmp_path, tmp_path / "flat.csv"):
        admission = door.admit(contract, source, ["snapshot"])
        version = admission.versions["snapshot"]["snapshot"]
        assert len(version.parts) == 1
        rows = {row["customer_id"]: row for row in door.rows(version)}
        a = rows[door.vault.find("a") or ""]
        assert list(a) == [
            "customer_id", "row_id", "event_time", "ingested_at", "label_raw", "tenure", "Total_Charges",
            "senior", "plan",
        ]  # fmt: skip
        assert (a["label_raw"], a["tenure"], a["Total_Charges"], a["senior"]) == ("Yes", 1.0, None, "Yes")
        assert isinstance(a["tenure"], float)
    assert admission.current["snapshot"] == version


def test_a_flat_file_without_an_id_gets_keys_from_its_rows(door: Door, tmp_path: Path) -> None:
    value = {**FLAT, "tables": {"snapshot": {**FLAT["tables"]["snapshot"], "entity": None, "key": []}}}
    contract = parse_contract(value)
    lines = FLAT_CSV.splitlines()
    (tmp_path / "flat.csv").write_text(FLAT_CSV)
    first = door.admit(contract, tmp_path, ["snapshot"])
    assert first.dropped["snapshot"] == 0
    assert len({row["customer_id"] for row in door.rows(first.current["snapshot"])}) == 4
    (tmp_path / "flat.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert door.admit(contract, tmp_path, ["snapshot"]).digests == first.digests


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        (FLAT_CSV.replace(",Yes\n", ",No\n"), "never has the value 'Yes'; it has 'No'"),
        (FLAT_CSV.replace(",No\n", ",Yes\n"), "every row of 'Churn' has the value 'Yes'"),
    ],
)
def test_a_label_with_one_class(door: Door, tmp_path: Path, csv: str, says: str) -> None:
    (tmp_path / "flat.csv").write_text(csv)
    with pytest.raises(ContractError) as raised:
        door.admit(parse_contract(FLAT), tmp_path, ["snapshot"])
    assert says in raised.value.message
