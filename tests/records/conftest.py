from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.settings import _load, reload
from tests.records.servers import postgres_server


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The default settings, whatever the environment of the tests says."""
    with monkeypatch.context() as patch:
        for name in ("CHURN_VAULT_KEY", "CHURN_PROFILE", "CHURN_HOME"):
            patch.delenv(name, raising=False)
        reload()
        yield patch
    _load.cache_clear()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> ContentStore:
    return ContentStore(home.store)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty PostgreSQL database on a throw-away cluster."""
    with postgres_server() as url:
        yield url
