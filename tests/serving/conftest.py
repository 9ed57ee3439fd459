"""A complete service: real package, keys and vault; only the online store is a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import prometheus_client
import pytest

from churn_platform.features.online import Missing
from churn_platform.identity.keys import ApiKeys
from churn_platform.records.home import Home
from churn_platform.records.vault import IdentityVault
from churn_platform.serving.api import build_app
from churn_platform.serving.asgi import App
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.prediction_log import PredictionLog
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.scorer import Scorer
from tests.serving.champion import make_package

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
CUSTOMER = "ACME/42 – North"
VECTOR: dict[str, Any] = {
    "logins_30d": 3.0,
    "tenure_days": None,
    "seats_used": 0.2,
    "plan": "basic",
    "mrr": 250.0,
}


class DictVectors:
    """An online store of one process."""

    def __init__(self, vectors: dict[str, dict[str, Any] | Missing]) -> None:
        self.vectors = vectors

    def get(self, pseudonyms: Sequence[str], *, at: datetime | None = None) -> dict[str, dict[str, Any] | Missing]:
        return {one: self.vectors.get(one, Missing("not_found")) for one in pseudonyms}


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "champion"
    make_package(folder)
    return folder


@pytest.fixture(scope="session")
def scorer(package: Path) -> Scorer:
    return Scorer.load(package, name="churn", version="7")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.open(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def vault(home: Home) -> IdentityVault:
    vault = IdentityVault.open(home)
    vault.pseudonymise([CUSTOMER, "left-long-ago"])
    return vault


@pytest.fixture(scope="session")
def keys(home: Home) -> ApiKeys:
    return ApiKeys.open(home)


@pytest.fixture(scope="session")
def key(keys: ApiKeys) -> str:
    return keys.create("tests", "service")[0]


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    return prometheus_client.CollectorRegistry()


@pytest.fixture
def metrics(registry: prometheus_client.CollectorRegistry) -> ServingMetrics:
    def bound(kind: Any) -> Any:
        return lambda *args, **options: kind(*args, registry=registry, **options)

    return ServingMetrics(
        SimpleNamespace(Counter=bound(prometheus_client.Counter), Histogram=bound(prometheus_client.Histogram))
    )


@pytest.fixture
def predictions(home: Home) -> Iterator[PredictionLog]:
    log = PredictionLog.open(home)
    yield log
    log.close()


@pytest.fixture
def runtime(
    metrics: ServingMetrics, scorer: Scorer, keys: ApiKeys, vault: IdentityVault, predictions: PredictionLog
) -> Runtime:
    pseudonym = vault.find(CUSTOMER)
    assert pseudonym is not None
    vectors = DictVectors({pseudonym: {**VECTOR, "event_timestamp": AS_OF}})
    return Runtime(
        metrics=metrics, keys=keys, scorer=scorer, identities=vault, vectors=vectors, predictions=predictions
    )


@pytest.fixture
def app(runtime: Runtime) -> App:
    return build_app(runtime)


class Client:
    """A blocking client of an ASGI application, with a key unless told otherwise."""

    def __init__(self, app: App, key: str) -> None:
        self._app = app
        self.headers = {"authorization": f"Bearer {key}"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        import asyncio

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=True)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path, **options)

        options.setdefault("headers", self.headers)
        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def predict(self, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return self.request("POST", "/v1/predict", **options)


@pytest.fixture
def client(app: App, key: str) -> Client:
    return Client(app, key)
