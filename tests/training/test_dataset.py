from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import NotEnoughDataError, TrainingError
from churn_platform.records.store import ContentStore
from churn_platform.training.dataset import TrainingSet, build_training_set
from tests.training import synthetic


@pytest.fixture(scope="module")
def made(store: ContentStore) -> synthetic.World:
    return synthetic.world(store, customers=200, count=5)


def build(world: synthetic.World, store: ContentStore, **options: bool) -> TrainingSet:
    return build_training_set(world.features, world.labels, synthetic.FEATURES, world.contract, store=store, **options)


def labels_of(world: synthetic.World, store: ContentStore) -> pa.Table:
    return pa.concat_tables(pq.read_table(store.path(digest)) for digest in world.labels.values())


def test_only_labelled_untreated_rows_of_mature_months_stay(made: synthetic.World, store: ContentStore) -> None:
    found = build(made, store)
    rows = found.load(store)
    wanted = [row for row in labels_of(made, store).to_pylist() if row["label"] is not None and not row["treated"]]
    assert len(rows) == len(wanted) == found.spec["n_rows"]
    assert int(rows.label.sum()) == sum(row["label"] for row in wanted) == found.spec["positives"]
    assert found.observations == tuple(sorted(made.features))[:-1]
    immature = found.spec["observations"][-1]
    assert (immature["mature"], immature["rows"]) == (False, 0)


def test_treated_customers_are_counted_and_can_be_kept(made: synthetic.World, store: ContentStore) -> None:
    without, with_them = build(made, store), build(made, store, include_treated=True)
    treated = sum(month["treated"] for month in without.spec["observations"])
    assert treated > 0
    assert with_them.spec["n_rows"] == without.spec["n_rows"] + treated == len(with_them.load(store))
    assert with_them.spec["positives"] == int(with_them.load(store).label.sum())


def test_a_month_with_any_immature_label_is_left_out(store: ContentStore) -> None:
    world = synthetic.world(store, customers=60, count=3)
    months = sorted(world.labels)
    table = pq.read_table(store.path(world.labels[months[0]])).to_pylist()
    table[0] |= {"outcome": "immature", "label": None}
    columns = {name: [row[name] for row in table] for name in table[0]}
    columns["label"] = pa.array(columns["label"], pa.int8())
    world.labels[months[0]] = synthetic.put(store, columns)
    assert build(world, store).observations == (months[1],)


def test_keys_name_the_customer_of_each_row(made: synthetic.World, store: ContentStore) -> None:
    found = build(made, store)
    rows, customers = found.load(store), found.customers(store)
    truth = {(row["customer_id"], row["observation_date"]): row for row in labels_of(made, store).to_pylist()}
    for customer, observation, label, mrr in zip(customers, rows.observation, rows.label, rows.mrr, strict=True):
        assert truth[customer, observation]["label"] == label
        assert truth[customer, observation]["mrr"] == mrr
    # a customer has one number, and a number one customer
    assert len(set(zip(customers, rows.group.tolist(), strict=True))) == len(set(customers)) == len(set(rows.group))


def test_pseudonyms_and_order_of_rows_do_not_matter(store: ContentStore) -> None:
    first = build(synthetic.world(store, customers=150, count=5), store)
    second = build(synthetic.world(store, customers=150, count=5, salt="other"), store)
    assert first.spec_digest == second.spec_digest
    assert first.keys_digest != second.keys_digest


def test_no_pseudonym_in_what_a_model_sees(made: synthetic.World, store: ContentStore) -> None:
    found = build(made, store)
    assert "customer_id" not in pq.read_schema(store.path(found.spec["rows"])).names
    assert "abcd" not in store.read_bytes(found.spec_digest).decode()


def test_stored_and_read_again(made: synthetic.World, store: ContentStore) -> None:
    found = build(made, store)
    again = TrainingSet.read(store, found.put(store))
    assert again == found
    assert again.features == synthetic.FEATURES


def test_equal_rows_of_a_snapshot_share_a_group(store: ContentStore) -> None:
    world = synthetic.snapshot(store, customers=300)
    rows = build(world, store).load(store)
    contents = list(zip(*(rows.columns[f.name].tolist() for f in synthetic.FEATURES), strict=True))
    groups: dict[int, set[str]] = {}
    for group, content in zip(rows.group.tolist(), contents, strict=True):
        groups.setdefault(group, set()).add(repr(content))
    assert all(len(inside) == 1 for inside in groups.values())
    assert len(groups) == len(set(map(repr, contents))) <= 300 < len(rows)


def test_errors_name_what_is_missing(made: synthetic.World, store: ContentStore) -> None:
    with pytest.raises(TrainingError, match="both features and labels"):
        build_training_set({}, made.labels, synthetic.FEATURES, made.contract, store=store)
    last = max(made.labels)
    with pytest.raises(NotEnoughDataError, match="mature"):
        build_training_set({last: made.features[last]}, made.labels, synthetic.FEATURES, made.contract, store=store)
    stranger = dataclasses.replace(synthetic.FEATURES[0], name="not_there")
    with pytest.raises(TrainingError, match="not_there"):
        build_training_set(made.features, made.labels, [stranger], made.contract, store=store)


def test_unknown_values_are_nan_and_none(made: synthetic.World, store: ContentStore) -> None:
    rows = build(made, store).load(store)
    assert np.isnan(rows.columns["nps"]).any()
    assert rows.columns["nps"].dtype == np.float64
    assert None in set(rows.columns["region"].tolist())
