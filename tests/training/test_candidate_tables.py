"""From stored tables of candidates to a choice: what it reads, what it carries on, what it is indifferent to."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from churn_platform.features.available import Available
from churn_platform.features.candidates import NAME_LIMIT, candidates
from churn_platform.features.definitions import definitions_for
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract, dump_contract, parse_contract
from churn_platform.training import selection_rows as rows_module
from churn_platform.training.candidate_tables import CandidateTables, choose, fit_profile_of, make_tables
from churn_platform.training.selection import Selection
from churn_platform.training.selection_rows import Offered, selection_rows
from tests.features.data import Tables, relational
from tests.features.random_tables import random_tables
from tests.training import synthetic

OFFERED = tuple(Offered(name, name, "aggregate", "usage") for name in ("usage_good_30d", "usage_noise_30d"))
MONTHS = synthetic.months(8)


def made(store: ContentStore, salt: str = "") -> tuple[CandidateTables, dict[str, str], synthetic.World]:
    """Tables of eight months, with a candidate that knows when somebody leaves, and one that knows nothing."""
    world = synthetic.world(store, customers=1500, count=11, base=-2.4, salt=salt)
    months = {}
    for key in MONTHS:
        table = pq.read_table(store.path(world.features[key]))
        chance = np.array([world.oracle[who, key] for who in table["customer_id"].to_pylist()])
        good = np.log(chance / (1 - chance))
        noise = np.array([zlib.crc32(f"{c:.12f}{key}".encode()) % 1009 for c in chance], dtype=float)
        columns = {name: table[name] for name in table.column_names}
        months[key] = synthetic.put(store, {**columns, OFFERED[0].name: good, OFFERED[1].name: noise})
    names = tuple(one.name for one in OFFERED)
    return CandidateTables(months, synthetic.FEATURES, OFFERED, (), names), world.labels, world


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ContentStore:
    return ContentStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def chosen(store: ContentStore) -> Selection:
    tables, labels, world = made(store)
    return choose(tables, labels, world.contract, store=store)


def test_what_foretells_is_chosen(chosen: Selection) -> None:
    assert chosen.chosen == (OFFERED[0].name,)
    assert chosen.judging == tuple(MONTHS)


def test_months_that_judge_a_model_are_never_read(store: ContentStore, chosen: Selection) -> None:
    tables, labels, world = made(store)
    gone = {**labels, **{key: "0" * 64 for key in labels if key not in MONTHS}}  # reading one of them would fail
    again = choose(tables, gone, world.contract, store=store)
    assert json.dumps(again.to_json()) == json.dumps(chosen.to_json())
    other = labels | {MONTHS[-1]: labels[MONTHS[0]]}
    assert choose(tables, other, world.contract, store=store).to_json() != chosen.to_json(), "and these are read"


def test_pseudonyms_change_nothing(store: ContentStore, chosen: Selection) -> None:
    tables, labels, world = made(store, salt="other")
    again = choose(tables, labels, world.contract, store=store)
    assert json.dumps(again.to_json()) == json.dumps(chosen.to_json())
    one, other = (fit_profile_of(made(store, salt)[0], store) for salt in ("", "other"))
    assert one is not None
    assert other is not None
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())


def test_only_a_part_of_many_rows_is_read(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, labels, _ = made(store)
    monkeypatch.setattr(rows_module, "MOST_ROWS", 800)
    found = selection_rows(tables.months, labels, tables.features, tables.offered, store=store)
    assert len(found.y) == 800
    whole = pa.concat_tables([pq.read_table(store.path(digest)) for digest in tables.months.values()])
    mrr, logins, good = (whole[name].to_pylist() for name in ("mrr", "logins_30d", OFFERED[0].name))
    rows = {(a, b, round(c, 12)) for a, b, c in zip(mrr, logins, good, strict=True)}
    i, j = found.base_names.index("mrr"), found.base_names.index("logins_30d")
    for base, x in zip(found.base, found.x, strict=True):
        assert (base[i], base[j], round(x[0], 12)) in rows, "candidates stand beside their own row"


def test_what_the_champion_reads_is_carried_on_without_months_to_choose_on(store: ContentStore) -> None:
    contract = relational()
    versions = Tables(contract, store, random_tables(2)).versions(["2024-08-01"])
    tables = make_tables(contract, versions, [], store=store)
    assert (tables.months, tables.offered) == ({}, ())
    assert "usage_logins_mean_30d" in tables.possible
    assert CandidateTables.from_json(json.loads(json.dumps(tables.to_json()))) == tables
    found = choose(tables, {}, contract, store=store, in_force=("usage_logins_mean_30d", "logins_30d", "gone_30d"))
    assert found.carried == ("usage_logins_mean_30d",)
    assert (found.chosen, found.judging) == ((), ())


def test_a_choice_of_nothing_forbids_no_month(chosen: Selection) -> None:
    assert replace(chosen, chosen=()).judging == ()


def test_no_candidate_has_a_name_that_postgresql_would_cut() -> None:
    value = yaml.safe_load(dump_contract(relational()))
    long = "a_measure_with_a_name_that_somebody_wrote_out_in_full"
    value["tables"]["usage"]["columns"][long] = {"type": "number"}
    contract: Contract = parse_contract(value)
    available = Available.of(contract)
    found = [one.name for one in candidates(available, definitions_for(available))]
    assert max(len(name) for name in found) <= NAME_LIMIT
    assert any("logins" in name for name in found)
