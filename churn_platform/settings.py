"""Frozen, typed settings, read from ``CHURN_*`` environment variables. Unsafe production settings refuse to start."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from churn_platform.errors import ConfigurationError

CHECKOUT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Settings of one process. Each field is read from ``CHURN_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="CHURN_", frozen=True, extra="forbid")

    home: Path = Field(default=CHECKOUT / ".churn", description="The one folder that everything is written to.")
    profile: Literal["embedded", "production"] = Field(
        default="embedded", description="embedded needs no server; production needs PostgreSQL, Redis and S3."
    )
    problem: str = Field(
        default="churn",
        pattern=r"^[a-z][a-z0-9_]{0,40}$",
        description="The name of the problem this home serves.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="postgresql://user:password@host/database: where Dagster, MLflow, Feast's registry and our own "
        "tables are kept. Unset: in SQLite, below CHURN_HOME.",
    )
    vault_key: SecretStr | None = Field(
        default=None,
        description="Base64 of 32 bytes: the key of the identity vault. Made in the vault's folder where not set.",
    )
    as_of: AwareDatetime | None = Field(
        default=None,
        description="The moment that counts as now, for simulated and historical data (ISO 8601 with an offset). "
        "Unset: the wall clock.",
    )
    online_store: Literal["lmdb", "redis"] = Field(
        default="lmdb",
        description="Where the newest features are kept for serving: lmdb (embedded, below the home) or redis (needs "
        "`CHURN_REDIS_URL`).",
    )
    offline_store: Literal["duckdb", "postgres"] = Field(
        default="duckdb",
        description="Where Feast reads the history of features: duckdb (Parquet files below the home) or postgres (a "
        "table in the schema `feast` of `CHURN_DATABASE_URL`).",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Address of Redis: `redis://`, `rediss://` (TLS) or `unix://`; may hold user and password, and is "
        "never printed.",
    )
    threads: int = Field(default=2, ge=1, description="Threads that DuckDB and the learners may use.")
    service_workers: int = Field(
        default=1, ge=1, description="Processes of the prediction service, at most one for each core."
    )
    sensor_seconds: int = Field(
        default=10, ge=1, description="How often the sensors look for new data and new reports."
    )
    settle_seconds: int = Field(
        default=15,
        ge=0,
        description="Files of the source that changed less than so many seconds ago may still be copied: nothing is "
        "asked for until they rest, or have not rested for twenty times as long.",
    )
    source_poll_seconds: int = Field(
        default=300, ge=1, description="How often a database or bucket is looked at for new rows."
    )
    retrain_after_months: int = Field(
        default=6,
        ge=1,
        description="After so many months with certain labels that it has not seen, a new champion is learned even "
        "where nothing is wrong.",
    )
    outlet_seconds: int = Field(
        default=5, ge=1, description="How often the outbox is looked at for what there is to tell and to try again."
    )
    outlet_private_addresses: bool = Field(
        default=False, description="Whether webhooks may go to addresses inside the network (127.0.0.1, 10.0.0.0/8 …)."
    )
    memory_limit: str = Field(
        default="2GB",
        pattern=r"^\d+(MB|GB)$",
        description="Memory that DuckDB may use before it spills to disk.",
    )
    feature_engine: Literal["duckdb", "spark"] = Field(
        default="duckdb",
        description="What computes the features: DuckDB in this process, or Spark in an environment of its own "
        "(`make spark-env`).",
    )
    spark_python: Path = Field(
        default=CHECKOUT / ".venv-spark" / "bin" / "python",
        description="The interpreter of the environment that holds Spark.",
    )
    spark_master: str = Field(default="local[2]", min_length=1, description="Spark's master URL.")

    mlflow_url: str = Field(
        default="http://127.0.0.1:5000",
        pattern=r"^https?://",
        description="Where people reach the MLflow UI: links in the Dagster UI lead there.",
    )
    reports_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where people reach the folder CHURN_HOME/reports, if a web server shows it. Unset: links are "
        "paths on this machine.",
    )

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        # The value is not repeated: it may hold a password.
        if value is not None and not re.match(
            r"^postgres(ql)?(\+psycopg2)?://([^/\s@]*@)?[^/\s@]*/[^/?\s]+(\?\S*)?$", value.get_secret_value()
        ):
            raise ValueError(
                "it must be of the form postgresql://user:password@host/database; @, / and % in the password are "
                "written %40, %2F and %25"
            )
        return value

    @model_validator(mode="after")
    def _safe(self) -> Self:
        url = self.redis_url.get_secret_value() if self.redis_url else ""
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("redis_url: an address of Redis begins with redis://, rediss:// or unix://")
        try:
            _ = urlsplit(url).port
        except ValueError:  # whose words hold what stands for the port: half of a password
            raise ValueError("redis_url: it cannot be read; / and @ in a password are written %2F and %40") from None
        if self.online_store == "redis" and not url:
            raise ValueError(
                "redis_url: CHURN_ONLINE_STORE=redis needs CHURN_REDIS_URL, such as redis://127.0.0.1:6379/0"
            )
        if self.offline_store == "postgres" and self.database_url is None:
            raise ValueError("database_url: CHURN_OFFLINE_STORE=postgres needs CHURN_DATABASE_URL")
        if self.profile == "production" and self.vault_key is None:
            raise ValueError(
                "vault_key: the production profile keeps its key outside CHURN_HOME; set CHURN_VAULT_KEY to base64 of "
                "32 random bytes"
            )
        return self


@cache
def _load() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        variable = f"CHURN_{name.upper()}" if first["loc"] else "The settings"
        raise ConfigurationError(
            f"{variable}: {first['msg']}.",
            mend="See docs/reference/settings.md for what it takes.",
            field=name,
        ) from error


def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        ConfigurationError: for a value of the wrong form, or an unsafe production profile.
    """
    return _load()


def reload() -> Settings:
    """Forget what was read and read the environment again (tests, and the CLI after it has set a variable)."""
    _load.cache_clear()
    return _load()
