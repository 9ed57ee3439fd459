"""Which packed store a home has: LMDB below the home, or Redis, as ``CHURN_ONLINE_STORE`` says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from churn_platform.errors import ConfigurationError
from churn_platform.features.packed.lmdb_store import LmdbStore
from churn_platform.features.packed.redis_store import RedisStore
from churn_platform.features.packed.store import PackedStore
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.records.home import Home


def lmdb_path(home: Home) -> Path:
    """The folder of the embedded store."""
    return home.feast / "online.lmdb"


def open_store(home: Home) -> PackedStore:
    """The home's packed store; opening reads nothing yet.

    Raises:
        ConfigurationError: Redis is chosen without an address.
    """
    if settings().online_store == "redis":
        return redis_store()
    return lmdb_store(lmdb_path(home))


def redis_store(url: str | None = None, namespace: str | None = None) -> RedisStore:
    """The store on Redis; address and namespace by default as the settings say."""
    configured = settings().redis_url
    address = url or (configured.get_secret_value() if configured else None)
    if address is None:
        raise ConfigurationError(
            "CHURN_REDIS_URL is not set.",
            mend="Set it to redis://host:6379/0, or CHURN_ONLINE_STORE to lmdb.",
            field="redis_url",
        )
    return _redis(address, namespace or settings().problem)


@cache
def lmdb_store(path: Path) -> LmdbStore:
    """The store in a folder; one object for each path."""
    return LmdbStore(path)


@cache
def _redis(url: str, namespace: str) -> RedisStore:
    return RedisStore(url, namespace)
