from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from churn_platform import settings as module
from churn_platform.errors import ConfigurationError
from churn_platform.settings import CHECKOUT, reload, settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        for name in module.Settings.model_fields:
            patch.delenv(f"CHURN_{name.upper()}", raising=False)
        reload()
        yield patch
    module._load.cache_clear()


def test_the_defaults_need_no_variable():
    assert settings().home == CHECKOUT / ".churn"
    assert settings().profile == "embedded"
    assert settings().vault_key is None


def test_variables_are_read_once_and_again_after_reload(environment: pytest.MonkeyPatch, tmp_path: Path):
    environment.setenv("CHURN_HOME", str(tmp_path))
    assert settings().home == CHECKOUT / ".churn"
    reload()
    assert settings().home == tmp_path
    assert settings() is settings()


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        settings().threads = 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHURN_THREADS", "0"),
        ("CHURN_THREADS", "many"),
        ("CHURN_PROFILE", "staging"),
        ("CHURN_PROBLEM", "Churn!"),
        ("CHURN_MEMORY_LIMIT", "lots"),
    ],
)
def test_a_wrong_value_names_its_variable(environment: pytest.MonkeyPatch, variable: str, value: str):
    environment.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        reload()
    assert caught.value.field == variable.removeprefix("CHURN_").lower()
    assert caught.value.mend


def test_production_refuses_to_start_without_a_key(environment: pytest.MonkeyPatch):
    environment.setenv("CHURN_PROFILE", "production")
    with pytest.raises(ConfigurationError, match="CHURN_VAULT_KEY"):
        reload()
    environment.setenv("CHURN_VAULT_KEY", "c2VjcmV0")
    assert reload().profile == "production"


def test_the_key_is_not_shown(environment: pytest.MonkeyPatch):
    environment.setenv("CHURN_VAULT_KEY", "c2VjcmV0")
    assert "c2VjcmV0" not in f"{reload()!r} {settings()} {settings().model_dump()}"


def test_other_churn_variables_are_not_settings(environment: pytest.MonkeyPatch):
    environment.setenv("CHURN_REQUIRE_SERVERS", "1")
    reload()
