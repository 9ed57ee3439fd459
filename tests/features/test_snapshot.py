"""The snapshot shape: columns straight through, labels from the label column."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import FeatureError
from churn_platform.features.assemble import assemble
from churn_platform.features.catalogue import catalogue_for, table_columns
from churn_platform.features.labels import label_months
from churn_platform.features.words import plain_words
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract, parse_contract
from churn_platform.sources.tables import SNAPSHOT_AS_OF, TablePart, TableVersion

COLUMNS = {
    "Contract": {"type": "category", "description": "How long one is bound."},
    "SeniorCitizen": {"type": "boolean"},
    "tenure": {"type": "integer"},
    "MonthlyCharges": {"type": "number"},
    "TotalCharges": {"type": "number"},
    "remark": {"type": "text"},
    "since": {"type": "timestamp"},
}
ROWS: list[dict[str, Any]] = [
    {
        "customer_id": "b",
        "Contract": "One year",
        "SeniorCitizen": "Yes",
        "tenure": 3,
        "MonthlyCharges": 29.85,
        "TotalCharges": float("nan"),
        "label_raw": "Yes",
    },
    {
        "customer_id": "a",
        "Contract": None,
        "SeniorCitizen": "no",
        "tenure": 0,
        "MonthlyCharges": 10.0,
        "TotalCharges": 7.5,
        "label_raw": "No",
    },
    {
        "customer_id": "c",
        "Contract": "One year",
        "SeniorCitizen": None,
        "tenure": 1,
        "MonthlyCharges": None,
        "label_raw": None,
    },
]


def snapshot(**changes: Any) -> Contract:
    return parse_contract(
        {
            "contract_version": 1,
            "problem": "churn",
            "shape": "snapshot",
            "label": {"source": "column", "column": "Churn", "positive": "Yes"},
            "value_column": "MonthlyCharges",
            "tables": {
                "snapshot": {
                    "path": "t.csv",
                    "entity": "customerID",
                    "key": ["customerID"],
                    "columns": COLUMNS,
                }
            },
            **changes,
        }
    )


def version(store: ContentStore) -> TableVersion:
    schema = pa.schema(
        [
            ("customer_id", pa.string()),
            ("row_id", pa.string()),
            ("event_time", pa.timestamp("us")),
            ("ingested_at", pa.timestamp("us")),
            ("Contract", pa.string()),
            ("SeniorCitizen", pa.string()),  # as the company writes it
            ("tenure", pa.int64()),
            ("MonthlyCharges", pa.float64()),
            ("TotalCharges", pa.float64()),
            ("remark", pa.string()),
            ("since", pa.timestamp("us")),
            ("label_raw", pa.string()),
        ]
    )
    with store.temporary() as path:
        pq.write_table(pa.Table.from_pylist([{"row_id": row["customer_id"], **row} for row in ROWS], schema), path)
        digest = store.put_file(path, move=True)
    return TableVersion("snapshot", "snapshot", (TablePart("snapshot", digest, len(ROWS)),))


def made(contract: Contract, store: ContentStore) -> tuple[str, list[dict[str, Any]]]:
    versions = {"snapshot": {"snapshot": version(store)}}
    month = assemble(contract, versions, ["snapshot"], store=store)["snapshot"]
    table = pq.read_table(store.path(month.digest))
    assert tuple(table.column_names) == table_columns(catalogue_for(contract))
    return month.digest, table.to_pylist()


def test_columns_go_straight_through(store: ContentStore) -> None:
    _, rows = made(snapshot(), store)
    assert [row["customer_id"] for row in rows] == ["a", "b", "c"]
    assert rows[1] == {
        "customer_id": "b",
        "event_timestamp": SNAPSHOT_AS_OF,
        "created_timestamp": SNAPSHOT_AS_OF,
        "mrr": 29.85,
        "Contract": "One year",
        "SeniorCitizen": 1.0,
        "tenure": 3.0,
        "MonthlyCharges": 29.85,
        "TotalCharges": None,
    }
    assert rows[0]["Contract"] is None
    assert [row["SeniorCitizen"] for row in rows] == [0.0, 1.0, None]


def test_labels_and_descriptions_are_words() -> None:
    features = {feature.name: feature for feature in catalogue_for(snapshot())}
    assert features["MonthlyCharges"].label == "Monthly Charges"
    assert features["Contract"].description == "How long one is bound."
    assert {feature.family for feature in features.values()} == {"snapshot"}


def test_labels_are_the_companys_own_words() -> None:
    names = {"Groesse": "Größe der Firma", "nps": "NPSScore", "c_1st": "1st_contract", "kuendigung": "kündigungs_frist"}
    columns = {name: {"type": "number", "source": source} for name, source in names.items()}
    tables = {"snapshot": {"path": "t.csv", "entity": "customerID", "key": ["customerID"], "columns": columns}}
    found = {f.name: f.label for f in catalogue_for(snapshot(tables=tables, value_column=None))}
    assert found == {
        "Groesse": "Größe der Firma",
        "nps": "NPS Score",
        "c_1st": "1st contract",
        "kuendigung": "kündigungs frist",
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("MonthlyCharges", "Monthly Charges"),
        ("MRR", "MRR"),
        ("customerID", "customer ID"),
        ("HTMLParser", "HTML Parser"),
        ("StreamingTV", "Streaming TV"),
        ("ÜbergrößeFürAlle", "Übergröße Für Alle"),
        ("iOS", "iOS"),
        ("logins30D", "logins30D"),
        ("days.to_renewal", "days to renewal"),
        ("  iPhone sales ", "iPhone sales"),
        ("_", "_"),
        ("売上", "売上"),
    ],
)
def test_plain_words(source: str, words: str) -> None:
    assert plain_words(source) == words


def test_without_a_value_column_the_value_is_unknown(store: ContentStore) -> None:
    _, rows = made(snapshot(value_column=None), store)
    assert {row["mrr"] for row in rows} == {None}


def test_a_column_may_not_take_the_place_of_the_value(store: ContentStore) -> None:
    columns = {**COLUMNS, "mrr": {"type": "number"}}
    tables = {"snapshot": {"path": "t.csv", "entity": "customerID", "key": ["customerID"], "columns": columns}}
    with pytest.raises(FeatureError, match="The column mrr"):
        catalogue_for(snapshot(tables=tables))
    assert "mrr" in {feature.name for feature in catalogue_for(snapshot(tables=tables, value_column="mrr"))}


def test_labels_come_from_the_label_column(store: ContentStore) -> None:
    contract = snapshot()
    digest, _ = made(contract, store)
    arguments: dict[str, Any] = {
        "as_of": datetime.fromisoformat("2024-01-01"),
        "populations": {"snapshot": digest},
        "store": store,
    }
    month = label_months(contract, {"snapshot": version(store)}, ["snapshot"], **arguments)["snapshot"]
    rows = pq.read_table(store.path(month.digest)).to_pylist()
    assert [(row["customer_id"], row["outcome"], row["label"], row["mrr"], row["treated"]) for row in rows] == [
        ("a", "retained", 0, 10.0, False),
        ("b", "voluntary", 1, 29.85, False),
    ]
    assert (month.rows, month.positives, month.censored, month.mature) == (2, 1, 0, True)
    other = snapshot(label={"source": "column", "column": "Churn", "positive": "gone"})
    with pytest.raises(FeatureError, match="'No', 'Yes'"):
        label_months(other, {"snapshot": version(store)}, ["snapshot"], **arguments)
