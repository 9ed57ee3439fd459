"""The catalogue says what the assembly makes, for any set of tables."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import FeatureError
from churn_platform.features.assemble import assemble
from churn_platform.features.catalogue import (
    catalogue_for,
    catalogue_from_json,
    catalogue_to_json,
    families,
    table_columns,
)
from churn_platform.features.observation import (
    instant,
    month_key,
    months,
    next_month,
    previous_month,
)
from churn_platform.features.page import PAGE, full_page
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract, parse_contract, plain
from churn_platform.sources.simulator.contract import contract as simulated
from tests.features.data import Tables, relational
from tests.features.random_tables import random_tables


def without_columns(contract: Contract, table: str, *columns: str) -> Contract:
    value = plain(contract)
    for column in columns:
        del value["tables"][table]["columns"][column]
    return parse_contract(value)


def with_column(contract: Contract, table: str, name: str, **spec: object) -> Contract:
    value = plain(contract)
    value["tables"][table]["columns"][name] = spec
    return parse_contract(value)


CONTRACTS = {
    "all": relational(),
    "no usage": relational(without=["usage"]),
    "no subscriptions": relational(without=["subscriptions"]),
    "no seats": without_columns(relational(), "subscriptions", "seats"),
    "no mrr": without_columns(relational(), "subscriptions", "mrr", "ended_at", "subscription_id"),
    "accounts alone": relational(
        without=["subscriptions", "usage", "invoices", "tickets", "surveys", "marketing", "interventions"]
    ),
    "an own measure": with_column(relational(), "usage", "exports", type="number"),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_catalogue_is_what_is_made(name: str, store: ContentStore) -> None:
    contract = CONTRACTS[name]
    versions = Tables(contract, store, random_tables(5)).versions(["2024-08-01"])
    month = assemble(contract, versions, ["2024-08-01"], store=store)["2024-08-01"]
    table = pq.read_table(store.path(month.digest))
    features = catalogue_for(contract)
    assert tuple(table.column_names) == table_columns(features)
    assert table.num_rows == month.rows > 0
    assert table["customer_id"].to_pylist() == sorted(set(table["customer_id"].to_pylist()))
    assert set(table["event_timestamp"].to_pylist()) == {instant("2024-08-01")}
    assert table.schema.field("mrr").type == pa.float64()
    for feature in features:
        assert table.schema.field(feature.name).type == (pa.float64() if feature.kind == "number" else pa.string())
    assert set(month.versions_used) <= set(contract.tables)


def names(contract: Contract) -> set[str]:
    return {feature.name for feature in catalogue_for(contract)}


def test_a_missing_table_drops_its_family_and_what_needs_it() -> None:
    whole = names(CONTRACTS["all"])
    assert set(families(catalogue_for(CONTRACTS["no usage"]))) == {
        "lifecycle",
        "billing",
        "support",
        "engagement",
        "attributes",
    }
    assert whole - names(CONTRACTS["no seats"]) == {
        "seats",
        "seats_change_90d",
        "seats_change_180d",
        "price_per_seat",
        "seat_utilisation_30d",
        "seat_utilisation_change",
        "logins_per_seat_30d",
        "core_actions_per_seat_30d",
        "minutes_per_seat_30d",
    }
    lost = whole - names(CONTRACTS["no subscriptions"])
    assert {"plan", "mrr", "days_to_renewal", "seat_utilisation_30d"} <= lost
    assert {"tenure_days", "logins_30d"} <= names(CONTRACTS["no subscriptions"])
    assert names(CONTRACTS["accounts alone"]) == {
        "tenure_days",
        "industry",
        "region",
        "country",
        "signup_channel",
        "initial_size",
    }
    assert {"exports_30d", "exports_90d"} == names(CONTRACTS["an own measure"]) - whole


def test_columns_overwritten_in_place_are_no_features() -> None:
    assert not names(CONTRACTS["no subscriptions"]) & {"plan", "owner", "account_plan"}
    immutable = with_column(CONTRACTS["no subscriptions"], "accounts", "plan", type="category", temporality="immutable")
    assert "account_plan" in names(immutable)


def test_two_features_of_one_name_are_refused() -> None:
    clash = with_column(relational(), "accounts", "logins_30d", type="integer", temporality="immutable")
    with pytest.raises(FeatureError, match="Two features are called logins_30d"):
        catalogue_for(clash)


def test_every_feature_is_described_for_people() -> None:
    features = catalogue_for(parse_contract(simulated()))
    assert 55 <= len(features) <= 80
    assert len({feature.name for feature in features}) == len({feature.label for feature in features}) == len(features)
    for feature in features:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", feature.name)
        assert feature.label
        assert "_" not in feature.label
        assert feature.description.endswith((".", ")."))
        assert feature.null_policy
        assert feature.unit or feature.kind == "category" or feature.family == "attributes"
    by_name = {feature.name: feature for feature in features}
    assert by_name["logins_30d"].label == "logins in the last 30 days"
    assert by_name["days_to_renewal"].label == "days until the contract renews"


def test_columns_of_the_company_keep_its_words() -> None:
    value = simulated()
    value["tables"]["accounts"]["columns"]["groesse"] = {
        "type": "category",
        "temporality": "immutable",
        "source": "Größenklasse_NACE",
    }
    value["tables"]["usage"]["columns"]["auftraege"] = {"type": "number", "source": "erledigteAufträge"}
    labels = {feature.name: feature.label for feature in catalogue_for(parse_contract(value))}
    assert labels["groesse"] == "Größenklasse NACE"
    assert labels["auftraege_30d"] == "erledigte Aufträge in the last 30 days"


def test_the_catalogue_survives_json_and_newer_fields() -> None:
    features = catalogue_for(relational())
    value = catalogue_to_json(features)
    value["features"][0]["added_later"] = 1
    assert catalogue_from_json(value) == features
    del value["features"][0]["unit"]
    with pytest.raises(FeatureError, match="incomplete"):
        catalogue_from_json(value)


def test_the_committed_page_is_the_rendered_one() -> None:
    page = Path(__file__).parents[2] / PAGE
    assert page.read_text(encoding="utf-8") == full_page(), "run python -m churn_platform.features.page"


def test_observation_keys() -> None:
    assert next_month("2023-12-01") == "2024-01-01"
    assert previous_month("2024-01-01") == "2023-12-01"
    assert list(months("2023-11-01", "2024-02-01")) == [
        "2023-11-01",
        "2023-12-01",
        "2024-01-01",
        "2024-02-01",
    ]
    assert list(months("2024-02-01", "2024-01-01")) == []
    assert month_key(instant("2024-02-01")) == "2024-02-01"
    for wrong in ("2024-02-02", "2024-13-01", "02/01/2024", ""):
        with pytest.raises(FeatureError, match="no observation date"):
            instant(wrong)
    with pytest.raises(FeatureError, match="no month before"):
        next_month("snapshot")
