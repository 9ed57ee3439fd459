"""Where things are sent: added, listed, removed."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import sqlalchemy as sa

from churn_platform import clock
from churn_platform.errors import InvalidRequestError, NotFoundError
from churn_platform.outlets.address import checked_url
from churn_platform.outlets.kinds import EVENTS, LIST_READY, Ids
from churn_platform.outlets.tables import DELIVERY, OUTLET, moment, stored
from churn_platform.records.ids import uuid7
from churn_platform.records.libpq import parsed
from churn_platform.records.sql import reading

if TYPE_CHECKING:
    from churn_platform.outlets.outbox import Outbox
    from churn_platform.outlets.sealing import Seal

Kind = Literal["webhook", "postgres", "parquet"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of all of them
SECRET_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,50}")


@dataclass(frozen=True)
class Outlet:
    """Where something is sent.

    Attributes:
        target: URL or folder, as it may be shown: without a password.
        options: ``ids`` (pseudonym or company) and ``schema`` of a table; ``ids`` of a file.
        stopped: why nothing is sent any more; None while it is.
    """

    id: str
    name: str
    kind: Kind
    target: str
    events: tuple[str, ...]
    options: Mapping[str, str]
    sealed: bytes
    created_at: datetime
    stopped: str | None

    def to_json(self) -> dict[str, Any]:
        """The record ``outlet/1`` for programs; no secret is in it."""
        return {
            "schema": "outlet/1",
            "name": self.name,
            "kind": self.kind,
            "target": self.target,
            "events": list(self.events),
            "options": dict(self.options),
            "created_at": self.created_at.isoformat(),
            "stopped": self.stopped,
        }


class Outlets:
    """The outlets of a home."""

    def __init__(self, outbox: Outbox, seal: Seal) -> None:
        self._engine, self._seal = outbox.engine, seal

    def add(
        self,
        kind: str,
        target: str,
        *,
        name: str,
        events: Sequence[str] = (),
        ids: str = "pseudonym",
        schema: str = "churn_lists",
    ) -> tuple[Outlet, str | None]:
        """Add an outlet.

        Args:
            target: a webhook's URL; ``postgresql://…`` of a database; a folder.
            events: what a webhook is told; all by default. Tables and files get each new list.
            ids: of a table or file: whether it holds pseudonyms or the company's own ids.
            schema: of a table.

        Returns:
            The outlet, and the secret of a webhook, which is shown this once and sealed in the home.

        Raises:
            InvalidRequestError: a wrong form of any of these, or a name that is taken.
            RefusedAddressError: a URL that is none for a webhook.
        """
        if not _NAME.fullmatch(name):
            raise _invalid("name", f"{name!r} is no name of an outlet", "Give lower-case letters, digits, - and _.")
        if ids not in get_args(Ids):
            raise _invalid("ids", f"There are no ids {ids!r}", "Give pseudonym or company.")
        unknown = [event for event in events if event not in EVENTS]
        if unknown:
            raise _invalid("event", f"There is no event {unknown[0]!r}", f"Give {', '.join(EVENTS)}.")
        options: dict[str, str] = {"ids": ids}
        kept: dict[str, str] = {}
        secret = None
        if kind == "webhook":
            checked_url(target)
            secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
            options, kept, shown = {}, {"secret": secret}, target
        elif kind == "postgres":
            if not _SCHEMA.fullmatch(schema):
                raise _invalid("schema", f"{schema!r} is no name of a schema", "Give lower-case letters, digits, _.")
            options["schema"] = schema
            kept, shown = {"url": target}, _without_password(target)
        elif kind == "parquet":
            shown = str(Path(target).expanduser().absolute())
        else:
            raise _invalid("kind", f"There is no outlet of the kind {kind!r}", f"Give {', '.join(KINDS)}.")
        outlet_id = str(uuid7())
        row = {
            "outlet_id": outlet_id,
            "name": name,
            "kind": kind,
            "target": shown,
            "events": json.dumps(list(dict.fromkeys(events or EVENTS)) if kind == "webhook" else [LIST_READY]),
            "options": json.dumps(options),
            "sealed": self._seal.seal(kept, outlet_id),
            "created_at": stored(clock.wall()),
        }
        with self._engine.begin() as connection:
            if connection.execute(sa.select(OUTLET.c.name).where(OUTLET.c.name == name)).first():
                raise _invalid("name", f"There is an outlet {name!r} already", "Choose another name, or remove it.")
            connection.execute(OUTLET.insert().values(row))
        return self.get(name), secret

    def list(self) -> list[Outlet]:
        """All outlets, the oldest first."""
        with reading(self._engine) as connection:
            return [_outlet(row) for row in connection.execute(OUTLET.select().order_by(OUTLET.c.outlet_id))]

    def get(self, name: str) -> Outlet:
        """One outlet.

        Raises:
            NotFoundError: there is none of that name.
        """
        with reading(self._engine) as connection:
            row = connection.execute(OUTLET.select().where(OUTLET.c.name == name)).one_or_none()
        if row is None:
            raise NotFoundError(
                f"There is no outlet {name!r}.", mend="`churn outlets list` shows those there are.", field="name"
            )
        return _outlet(row)

    def remove(self, name: str) -> None:
        """Remove an outlet, its secret and its deliveries."""
        outlet = self.get(name)
        with self._engine.begin() as connection:
            connection.execute(DELIVERY.delete().where(DELIVERY.c.outlet_id == outlet.id))
            connection.execute(OUTLET.delete().where(OUTLET.c.outlet_id == outlet.id))

    def stop(self, outlet_id: str, why: str) -> None:
        """Send nothing there any more, until its dead deliveries are retried."""
        with self._engine.begin() as connection:
            connection.execute(OUTLET.update().where(OUTLET.c.outlet_id == outlet_id).values(stopped=why))

    def secrets(self, outlet: Outlet) -> dict[str, Any]:
        """``secret`` of a webhook, ``url`` of a database."""
        return self._seal.open(outlet.sealed, outlet.id)


def _without_password(url: str) -> str:
    mend = "Give one such as postgresql://user@host/database."
    try:
        found = parsed(url)
    except ValueError as error:
        raise _invalid("target", f"The target is no URL of a PostgreSQL database: {error}", mend) from None
    if not found.database:
        raise _invalid("target", "The target names no database", mend)
    hidden = {k: "***" if "password" in k else v for k, v in found.query.items()}
    return found.set(query=hidden).render_as_string(hide_password=True)


def _outlet(row: sa.Row[Any]) -> Outlet:
    return Outlet(
        id=row.outlet_id,
        name=row.name,
        kind=row.kind,
        target=row.target,
        events=tuple(json.loads(row.events)),
        options=json.loads(row.options),
        sealed=bytes(row.sealed),
        created_at=moment(row.created_at),
        stopped=row.stopped,
    )


def _invalid(field: str, message: str, mend: str) -> InvalidRequestError:
    return InvalidRequestError(f"{message}.", mend=mend, field=field)
