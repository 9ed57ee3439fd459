"""Feast for real: registry, materialization, history, online reads, and the three held equal."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from churn_platform import clock, settings
from churn_platform.errors import FeatureError, NotReadyError
from churn_platform.features.assemble import assemble
from churn_platform.features.catalogue import Feature, catalogue_for, catalogue_to_json, families
from churn_platform.features.feast_objects import (
    CATALOGUE_REF,
    TTL,
    current_catalogue,
    current_objects,
    offline_folder,
    service_name,
)
from churn_platform.features.feast_store import (
    apply,
    historical,
    materialize,
    open_feast,
    register_model,
    repo_config,
    sync_offline,
)
from churn_platform.features.health import availability, freshness
from churn_platform.features.observation import instant
from churn_platform.features.online import Missing, OnlineReader, Vector
from churn_platform.features.packed.opening import open_store
from churn_platform.features.skew import skew, skew_online
from churn_platform.records.database import prepare, url_of
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from tests.features.data import Tables, relational
from tests.features.random_tables import random_tables
from tests.features.test_snapshot import snapshot
from tests.features.test_snapshot import version as snapshot_version
from tests.records.servers import postgres_server, redis_server

REPO = Path(__file__).parents[2] / "feature_repo"
MONTHS = ("2024-07-01", "2024-08-01", "2024-09-01")
NEWEST = instant(MONTHS[-1]).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Shop:
    """A home whose features are in Feast."""

    home: Home
    store: ContentStore
    digests: dict[str, str]
    features: tuple[Feature, ...]

    def customers(self, observation: str) -> list[str]:
        ids: list[str] = pq.read_table(self.store.path(self.digests[observation]))["customer_id"].to_pylist()
        return ids


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home = Home.open(tmp_path_factory.mktemp("home"))
    store = ContentStore(home.store)
    contract = relational()
    versions = Tables(contract, store, random_tables(11, customers=25)).versions(MONTHS)
    made = assemble(contract, versions, MONTHS, store=store)
    features = catalogue_for(contract)
    Refs(home.refs).set(CATALOGUE_REF, None, {"digest": store.put_json(catalogue_to_json(features))})
    digests = {key: month.digest for key, month in made.items()}
    sync_offline(home, {key: digests[key] for key in MONTHS[:1]}, store=store)
    apply(home, features)
    materialize(home, MONTHS[0])
    sync_offline(home, digests, store=store)
    materialize(home, MONTHS[-1])
    return Shop(home, store, digests, features)


def test_online_equals_offline_equals_history(shop: Shop) -> None:
    compared = skew(shop.home, MONTHS[-1], sample=1000)
    assert compared.differing == ()
    assert compared.customers == len(shop.customers(MONTHS[-1])) > 5
    assert compared.values == compared.customers * len(shop.features)


def test_skew_sees_a_difference(shop: Shop, tmp_path: Path) -> None:
    file = offline_folder(shop.home) / f"{MONTHS[-1]}.parquet"
    table = pq.read_table(file)
    position = table.column_names.index("tenure_days")
    nudged = pa.array([value + 1e-9 for value in table["tenure_days"].to_pylist()], pa.float64())
    altered = tmp_path / "altered.parquet"
    pq.write_table(table.set_column(position, "tenure_days", nudged), altered)
    file.unlink()
    altered.rename(file)
    try:
        assert "tenure_days" in skew(shop.home, MONTHS[-1]).differing[0]
    finally:
        sync_offline(shop.home, shop.digests, store=shop.store)


def test_a_vector_has_every_feature_and_its_time(shop: Shop) -> None:
    reader = OnlineReader(shop.home)
    who = shop.customers(MONTHS[-1])[0]
    with clock.as_of(NEWEST + timedelta(days=5)):
        vector = reader.get([who, who])[who]
    assert isinstance(vector, dict)
    assert list(vector) == [*(feature.name for feature in shop.features), "event_timestamp"]
    assert vector["event_timestamp"] == NEWEST
    for feature in shop.features:
        value = vector[feature.name]
        assert value is None or type(value) is (float if feature.kind == "number" else str)


def test_a_missing_customer_is_said_to_be_missing(shop: Shop) -> None:
    reader = OnlineReader(shop.home)
    who = shop.customers(MONTHS[-1])[0]
    assert reader.get([], at=NEWEST) == {}
    answers = reader.get(["nobody", who], at=NEWEST)
    assert answers["nobody"] == Missing("not_found")
    assert isinstance(answers[who], dict)


def test_the_time_to_live_is_enforced_online(shop: Shop) -> None:
    reader = OnlineReader(shop.home)
    who = shop.customers(MONTHS[-1])[0]
    assert isinstance(reader.get([who], at=NEWEST + TTL)[who], dict)
    assert reader.get([who], at=NEWEST + TTL + timedelta(seconds=1))[who] == Missing("expired", NEWEST)


def test_who_left_since_is_not_served(shop: Shop) -> None:
    gone = sorted(set(shop.customers(MONTHS[0])) - set(shop.customers(MONTHS[-1])))
    assert gone, "the tables have customers who leave"
    then = instant(MONTHS[0]).replace(tzinfo=UTC)
    answers = OnlineReader(shop.home).get(gone, at=then + timedelta(days=1))
    assert answers == {one: Missing("not_current", then) for one in gone}


def test_history_is_point_in_time(shop: Shop) -> None:
    who = next(
        one
        for one in shop.customers(MONTHS[-1])
        if one in shop.customers(MONTHS[0]) and one in shop.customers(MONTHS[1])
    )
    between = instant(MONTHS[1]) - timedelta(seconds=1)
    moments = [instant(MONTHS[1]), between, instant(MONTHS[0]) - timedelta(days=1), instant(MONTHS[1])]
    found = historical(shop.home, [{"customer_id": who, "event_timestamp": at} for at in moments])
    assert found["customer_id"].tolist() == [who] * 4

    def tenure(observation: str) -> float:
        rows = pq.read_table(shop.store.path(shop.digests[observation])).to_pylist()
        return float(next(row["tenure_days"] for row in rows if row["customer_id"] == who))

    values = found["tenure_days"].tolist()
    assert values[:2] == [tenure(MONTHS[1]), tenure(MONTHS[0])]
    assert values[2] != values[2]
    assert values[3] == values[0]


def test_only_the_newest_month_goes_online(shop: Shop) -> None:
    with pytest.raises(FeatureError, match="not the newest"):
        materialize(shop.home, MONTHS[0])
    with pytest.raises(FeatureError, match="not in Feast's offline store"):
        materialize(shop.home, "2024-10-01")


def test_an_older_month_never_overwrites_a_newer_one(shop: Shop) -> None:
    feast = open_feast(shop.home)
    one_view = next(iter(families(shop.features)))
    earlier = instant(MONTHS[1]).replace(tzinfo=UTC)
    who = sorted(set(shop.customers(MONTHS[1])) & set(shop.customers(MONTHS[-1])))[0]
    before = OnlineReader(shop.home).get([who], at=NEWEST)[who]
    feast.materialize(earlier - timedelta(seconds=1), earlier, feature_views=[one_view])
    after = OnlineReader(shop.home).get([who], at=NEWEST)[who]
    assert isinstance(before, Vector)
    assert isinstance(after, Vector)
    assert after == before
    assert after.generation == before.generation + 1, "it was a generation of its own, and changed no vector"


def test_each_model_version_has_a_service(shop: Shop) -> None:
    names = [feature.name for feature in shop.features][::3]
    assert register_model(shop.home, "3", names) == "churn_v3"
    service = open_feast(shop.home).get_feature_service("churn_v3")
    assert [one.name for view in service.feature_view_projections for one in view.features] == names
    apply(shop.home, shop.features)
    found = {one.name for one in open_feast(shop.home).list_feature_services()}
    assert found == {"churn", "churn_v3"}
    who = shop.customers(MONTHS[-1])[0]
    with clock.as_of(NEWEST):
        answer = open_feast(shop.home).get_online_features(service, [{"customer_id": who}]).to_dict()
    vector = OnlineReader(shop.home).get([who], at=NEWEST)[who]
    assert isinstance(vector, Vector)
    assert answer == {"customer_id": [who], **{name: [vector[name]] for name in names}}


def test_apply_again_keeps_serving_and_follows_the_catalogue(shop: Shop, tmp_path: Path) -> None:
    apply(shop.home, shop.features)
    who = shop.customers(MONTHS[-1])[0]
    assert isinstance(OnlineReader(shop.home).get([who], at=NEWEST)[who], dict)

    home = Home.open(tmp_path)
    with pytest.raises(NotReadyError, match="No features are online"):
        OnlineReader(home)
    with pytest.raises(FeatureError, match="no features to register"):
        apply(home, [])
    apply(home, shop.features)
    fewer = [feature for feature in shop.features if feature.family not in ("usage", "billing")]
    apply(home, fewer)
    views = {view.name for view in open_feast(home).list_feature_views()}
    assert views == {"lifecycle", "support", "engagement", "attributes"}
    assert OnlineReader(home).features == tuple(feature.name for feature in fewer)


def test_the_offline_folder_holds_exactly_the_given_months(shop: Shop, tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    two = {key: shop.digests[key] for key in MONTHS[:2]}
    folder = sync_offline(home, two, store=shop.store)
    sync_offline(home, {MONTHS[1]: shop.digests[MONTHS[1]]}, store=shop.store)
    assert [file.name for file in folder.iterdir()] == [f"{MONTHS[1]}.parquet"]
    sync_offline(home, {MONTHS[1]: shop.digests[MONTHS[2]]}, store=shop.store)
    file = folder / f"{MONTHS[1]}.parquet"
    assert file.samefile(shop.store.path(shop.digests[MONTHS[2]]))
    with shop.store.temporary() as path:
        pq.write_table(pa.table({"customer_id": ["a"]}), path)
        other = shop.store.put_file(path, move=True)
    with pytest.raises(FeatureError, match="other columns"):
        sync_offline(home, {**two, "2024-06-01": other}, store=shop.store)


def test_a_snapshot_is_served_without_a_time_to_live(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    store = ContentStore(home.store)
    contract = snapshot()
    month = assemble(contract, {"snapshot": {"snapshot": snapshot_version(store)}}, ["snapshot"], store=store)
    sync_offline(home, {"snapshot": month["snapshot"].digest}, store=store)
    apply(home, catalogue_for(contract), problem="telco")
    assert materialize(home, "snapshot") == 3
    reader = OnlineReader(home)
    vector = reader.get(["b"], at=datetime(2030, 1, 1, tzinfo=UTC))["b"]
    assert isinstance(vector, dict)
    assert vector["MonthlyCharges"] == vector["mrr"] == 29.85
    assert vector["TotalCharges"] is None
    assert skew(home, "snapshot", problem="telco").differing == ()

    # the same date again, without one of them: the old vector must not be served
    smaller = pq.read_table(store.path(month["snapshot"].digest)).filter(pc.field("customer_id") != "b")
    with store.temporary() as path:
        pq.write_table(smaller, path)
        digest = store.put_file(path)
    sync_offline(home, {"snapshot": digest}, store=store)
    assert materialize(home, "snapshot") == 2
    assert OnlineReader(home).get(["b"])["b"] == Missing("not_current", instant("snapshot").replace(tzinfo=UTC))


def test_the_repository_says_what_the_library_says(shop: Shop) -> None:
    text = (REPO / "feature_store.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text.replace("${CHURN_HOME}", str(shop.home.root))) == repo_config(shop.home)
    production = yaml.safe_load((REPO / "feature_store.production.yaml").read_text(encoding="utf-8"))
    assert production["online_store"]["type"].endswith(".PackedRedisOnlineStore")
    assert production["project"] == repo_config(shop.home)["project"]


def test_feast_s_own_command_reads_the_home(shop: Shop) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "feast.cli.cli", "-c", str(REPO), "feature-views", "list"],
        env={**os.environ, "CHURN_HOME": str(shop.home.root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    for family in families(shop.features):
        assert f"{family} " in listed.stdout


def test_the_repository_s_modules_load_in_any_home(shop: Shop, tmp_path: Path) -> None:
    code = (
        "import entities, views, services; import feast; "
        "print(entities.customer.name, services.all_features and services.all_features.name, "
        "len([v for v in vars(views).values() if isinstance(v, feast.FeatureView)]))"
    )

    def load(home: Path) -> str:
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "CHURN_HOME": str(home), "PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout.strip()

    assert load(tmp_path / "empty") == "customer None 0"
    assert load(shop.home.root) == "customer churn 6"


def test_objects_of_one_catalogue_are_the_same(shop: Shop) -> None:
    assert current_catalogue(shop.home) == shop.features
    assert current_objects(shop.home) is current_objects(shop.home)
    assert service_name("churn") == "churn"
    assert service_name("renewal") == "churn_renewal"


def test_what_is_online_now_is_looked_after(shop: Shop) -> None:
    with clock.as_of(NEWEST + timedelta(days=3)):
        found, there, age = skew_online(shop.home), availability(shop.home, MONTHS[-1]), freshness(shop.home)
        assert found.differing == ()
        assert found.customers == len(shop.customers(MONTHS[-1])) - found.pushed > 5
        assert there.low == {}
        assert (age.observed, age.age, age.fresh) == (NEWEST, timedelta(days=3), True)
        gone = shop.customers(MONTHS[-1])[:3]
        assert open_store(shop.home).remove(gone) > 0
        assert availability(shop.home, MONTHS[-1]).low, "who is not online is not available"
    with clock.as_of(NEWEST + TTL + timedelta(days=1)):
        assert not freshness(shop.home).fresh
    materialize(shop.home, MONTHS[-1])
    with clock.as_of(NEWEST):
        assert availability(shop.home, MONTHS[-1]).low == {}


def test_redis_and_a_registry_on_postgresql(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server() as registry, redis_server() as redis:
        variables = {"CHURN_DATABASE_URL": registry, "CHURN_ONLINE_STORE": "redis", "CHURN_REDIS_URL": redis}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.reload()
        home = Home.open(tmp_path)
        prepare()
        text = (REPO / "feature_store.production.yaml").read_text(encoding="utf-8")
        assert yaml.safe_load(text.replace("${FEAST_REGISTRY_URL}", url_of("feast", home))) == repo_config(home)
        sync_offline(home, shop.digests, store=shop.store)
        apply(home, shop.features)
        assert materialize(home, MONTHS[-1]) == len(shop.customers(MONTHS[-1]))
        assert skew(home, MONTHS[-1], sample=1000).differing == ()
        assert not (home.feast / "online.lmdb").exists()
        assert not (home.feast / "registry.db").exists()
