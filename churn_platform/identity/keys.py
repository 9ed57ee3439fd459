"""API keys: made, listed, revoked, and checked at every request."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from churn_platform import clock
from churn_platform.errors import InvalidRequestError, NotFoundError, UnauthenticatedError
from churn_platform.identity import secret as secret_text
from churn_platform.identity.roles import Principal, Role
from churn_platform.records.database import own_tables
from churn_platform.records.home import Home
from churn_platform.records.schema import schema_tag
from churn_platform.records.sql import open_database, reading

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NAME_LENGTH: Final = 100
# A revoked key is refused everywhere after this long at most.
CACHE_SECONDS: Final = 1.0
_CACHE_LIMIT: Final = 10_000

_TABLE: Final = sa.Table(
    "api_key",
    sa.MetaData(),
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(_NAME_LENGTH), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
)


@dataclass(frozen=True)
class KeyRecord:
    """What is known of a key; its secret is not. Times are aware, UTC."""

    key_id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def state(self) -> str:
        """``active``, ``expired`` or ``revoked``, at this moment."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= clock.wall():
            return "expired"
        return "active"

    def to_json(self) -> dict[str, Any]:
        """The record ``api_key/1`` for programs; times in ISO 8601."""
        return {
            "schema": schema_tag("api_key", 1),
            "key_id": self.key_id,
            "name": self.name,
            "role": str(self.role),
            "state": self.state,
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
        }


class ApiKeys:
    """The API keys of a home. Safe to use from several processes and threads at once.

    Args:
        engine: a database at the head of the ``identity`` migrations.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # Fingerprint -> principal, when the key expires, until when (monotonic) this may be believed.
        self._cache: dict[bytes, tuple[Principal, datetime | None, float]] = {}

    @classmethod
    def open(cls, home: Home) -> Self:
        """Open the keys of a home, making their database where there is none.

        Raises:
            HomeError, RecordError: see :func:`churn_platform.records.sql.open_database`.
        """
        place = own_tables(home, home.identity_db)
        engine = open_database(place, migrations="identity")
        if isinstance(place, Path):
            place.chmod(0o600)
        return cls(engine)

    def create(self, name: str, role: Role | str, expires_in: timedelta | None = None) -> tuple[str, KeyRecord]:
        """Make a key.

        Args:
            name: for people: who or what uses it; need not be unique.
            role: what it may do.
            expires_in: how long it is valid; for ever by default.

        Returns:
            The key's text, which is shown this once and stored nowhere, and what is stored.

        Raises:
            InvalidRequestError: name, role or time of a wrong form.
        """
        key_id, text = secret_text.generate()
        now = clock.wall()
        record = KeyRecord(key_id, _checked_name(name), _checked_role(role), now, _expiry(now, expires_in), None)
        with self._engine.begin() as connection:
            connection.execute(
                _TABLE.insert().values(
                    key_id=key_id,
                    name=record.name,
                    role=str(record.role),
                    secret_hash=secret_text.fingerprint(text),
                    created_at=_stored(record.created_at),
                    expires_at=_stored(record.expires_at),
                )
            )
        return text, record

    def list(self) -> list[KeyRecord]:
        """All keys ever made, oldest first, also those that are expired or revoked."""
        with reading(self._engine) as connection:
            rows = connection.execute(_TABLE.select().order_by(_TABLE.c.created_at, _TABLE.c.key_id))
            return [_record(row) for row in rows]

    def revoke(self, key_id: str) -> KeyRecord:
        """Refuse a key from now on: at once here, within a second in other processes. Twice is as once.

        Raises:
            NotFoundError: there is no such key.
        """
        with self._engine.begin() as connection:
            connection.execute(
                _TABLE.update()
                .where(_TABLE.c.key_id == key_id, _TABLE.c.revoked_at.is_(None))
                .values(revoked_at=_stored(clock.wall()))
            )
            row = connection.execute(_TABLE.select().where(_TABLE.c.key_id == key_id)).one_or_none()
        self._cache.clear()
        if row is None:
            raise NotFoundError(
                f"There is no API key {key_id!r}.",
                mend="`churn keys list` shows the ids: the part of a key between its two underscores.",
                field="key_id",
            )
        return _record(row)

    def authenticate(self, secret: str | None) -> Principal:
        """Who a key belongs to.

        Args:
            secret: the key's text, as the caller sent it; ``None`` where none was sent.

        Raises:
            UnauthenticatedError: none, unknown, wrong, expired or revoked.
        """
        if not secret:
            raise UnauthenticatedError(
                "The request carries no API key.",
                mend="Send the header `Authorization: Bearer churn_…`; `churn keys create` makes a key.",
            )
        try:
            fingerprint = secret_text.fingerprint(secret)
        except UnicodeEncodeError:
            raise _wrong() from None
        cached = self._cache.get(fingerprint)
        if cached is None or cached[2] < time.monotonic():
            cached = self._look_up(secret, fingerprint)
        principal, expires_at, _ = cached
        if expires_at is not None and expires_at <= clock.wall():
            raise UnauthenticatedError(
                f"The API key {principal.key_id} expired at {expires_at:%Y-%m-%d %H:%M} UTC.",
                mend="Ask an admin for a new one: `churn keys create`.",
            )
        return principal

    def _look_up(self, secret: str, fingerprint: bytes) -> tuple[Principal, datetime | None, float]:
        self._cache.pop(fingerprint, None)
        key_id = secret_text.key_id_of(secret)
        if key_id is None:
            raise _wrong()
        until = time.monotonic() + CACHE_SECONDS
        with reading(self._engine) as connection:
            row = connection.execute(_TABLE.select().where(_TABLE.c.key_id == key_id)).one_or_none()
        if row is None or not secrets.compare_digest(row.secret_hash, fingerprint):
            raise _wrong()
        record = _record(row)
        if record.revoked_at is not None:
            raise UnauthenticatedError(
                f"The API key {key_id} was revoked.", mend="Ask an admin for a new one: `churn keys create`."
            )
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        # Only keys that are right are remembered: wrong ones must not fill the memory.
        entry = (Principal(key_id, record.name, record.role), record.expires_at, until)
        self._cache[fingerprint] = entry
        return entry


def _wrong() -> UnauthenticatedError:
    # The same words for an unknown id and a wrong secret: a stranger learns nothing from them.
    return UnauthenticatedError(
        "The API key is not valid.",
        mend="Check that the whole key was sent, from `churn_` on; `churn keys list` shows which exist.",
    )


def _record(row: sa.Row[Any]) -> KeyRecord:
    return KeyRecord(
        key_id=row.key_id,
        name=row.name,
        role=Role(row.role),
        created_at=_EPOCH + row.created_at * _MICROSECOND,
        expires_at=None if row.expires_at is None else _EPOCH + row.expires_at * _MICROSECOND,
        revoked_at=None if row.revoked_at is None else _EPOCH + row.revoked_at * _MICROSECOND,
    )


def _stored(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _NAME_LENGTH or not name.isprintable():
        raise InvalidRequestError(
            f"The name of an API key has 1 to {_NAME_LENGTH} printable characters.",
            mend="Name who or what uses the key, such as 'crm-sync'.",
            field="name",
        )
    return name


def _checked_role(role: Role | str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        raise InvalidRequestError(
            f"There is no role {role!r}.", mend=f"Give one of {', '.join(Role)}.", field="role"
        ) from error


def _expiry(now: datetime, expires_in: timedelta | None) -> datetime | None:
    if expires_in is None:
        return None
    try:
        if expires_in <= timedelta(0):
            raise OverflowError
        return now + expires_in
    except OverflowError as error:
        raise InvalidRequestError(
            "The time after which an API key expires is not positive, or too long.",
            mend="Give the time from now on, such as 90 days.",
            field="expires_in",
        ) from error
