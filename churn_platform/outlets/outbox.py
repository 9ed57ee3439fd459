"""The outbox: announcements written down once, and a delivery of each to each outlet that wants it.

States of a delivery: ``waiting`` (also while it is being tried: then it is claimed for a while, so that one that was
cut off by a crash is tried again), ``done``, ``dead``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Self

import sqlalchemy as sa

from churn_platform import clock
from churn_platform.errors import NotFoundError
from churn_platform.outlets.kinds import Announcement
from churn_platform.outlets.schedule import ATTEMPTS
from churn_platform.outlets.tables import ANNOUNCEMENT, DELIVERY, OUTLET, moment, stored
from churn_platform.records.database import own_tables
from churn_platform.records.home import Home
from churn_platform.records.ids import uuid7
from churn_platform.records.sql import open_database, reading

State = Literal["waiting", "done", "dead"]
SAID_LENGTH: Final = 500


@dataclass(frozen=True)
class Delivery:
    """One announcement on its way to one outlet.

    Attributes:
        attempts: so far; of a claimed one, with the present attempt.
        due_at: of a waiting one: when it is tried next.
        said: what the last attempt came to.
    """

    id: str
    outlet_id: str
    outlet: str
    announcement: Announcement
    state: State
    attempts: int
    due_at: datetime
    settled_at: datetime | None
    said: str | None

    def to_json(self) -> dict[str, Any]:
        """The record ``delivery/1`` for programs."""
        return {
            "schema": "delivery/1",
            "delivery_id": self.id,
            "outlet": self.outlet,
            "webhook_id": self.announcement.id,
            "event": self.announcement.kind,
            "announced_at": self.announcement.announced_at.isoformat(),
            "state": self.state,
            "attempts": self.attempts,
            "due_at": self.due_at.isoformat() if self.state == "waiting" else None,
            "settled_at": self.settled_at.isoformat() if self.settled_at else None,
            "said": self.said,
        }


class Outbox:
    """The outbox of a home. Safe to use from several processes at once.

    Args:
        engine: a database at the head of the ``outlets`` migrations.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, home: Home) -> Self:
        """Open the outbox of a home, making its tables where there are none; a file has mode 0600."""
        place = own_tables(home, home.outlets / "outbox.db")
        engine = open_database(place, migrations="outlets")
        if isinstance(place, Path):
            place.chmod(0o600)
        return cls(engine)

    def announce(
        self, kind: str, data: Mapping[str, Any], *, key: str, to: Sequence[str] | None = None
    ) -> Announcement | None:
        """Write an announcement down, with a delivery to each outlet that wants it, in one transaction.

        Args:
            key: what it is about: a second announcement of the same key is none.
            to: ids of outlets that get it whatever they have asked for; None for all that have asked for its kind.

        Returns:
            What was written; None where the key was there.
        """
        made = Announcement(f"msg_{uuid7().hex}", key, kind, dict(data), clock.wall())
        row = {
            "announcement_id": made.id,
            "key": key,
            "kind": kind,
            "payload": json.dumps(made.data, ensure_ascii=False),
            "announced_at": stored(made.announced_at),
        }
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                from sqlalchemy.dialects.postgresql import insert
            else:
                from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
            written = connection.execute(insert(ANNOUNCEMENT).values(row).on_conflict_do_nothing()).rowcount
            if not written:
                return None
            for outlet in connection.execute(sa.select(OUTLET.c.outlet_id, OUTLET.c.events, OUTLET.c.stopped)):
                wanted = outlet.outlet_id in to if to is not None else kind in json.loads(outlet.events)
                if wanted and outlet.stopped is None:
                    connection.execute(
                        DELIVERY.insert().values(
                            delivery_id=str(uuid7()),
                            announcement_id=made.id,
                            outlet_id=outlet.outlet_id,
                            state="waiting",
                            attempts=0,
                            due_at=row["announced_at"],
                        )
                    )
        return made

    def newest(self, kind: str) -> Announcement | None:
        """The newest announcement of a kind."""
        query = ANNOUNCEMENT.select().where(ANNOUNCEMENT.c.kind == kind).order_by(ANNOUNCEMENT.c.announcement_id.desc())
        with reading(self.engine) as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        return None if row is None else _announcement(row)

    def has(self, key: str) -> bool:
        """Whether that has been announced."""
        with reading(self.engine) as connection:
            found = connection.execute(sa.select(ANNOUNCEMENT.c.key).where(ANNOUNCEMENT.c.key == key)).first()
        return found is not None

    def claim(self, now: datetime, lease: timedelta) -> Delivery | None:
        """Take the delivery that has been due for longest; nobody else gets it until ``lease`` has passed.

        The attempt counts from here on: one that takes its process down each time is given up in the end, too. Such
        a one is given up here, where it would have been its turn.
        """
        free = sa.or_(DELIVERY.c.claimed_until.is_(None), DELIVERY.c.claimed_until <= stored(now))
        spent = DELIVERY.update().where(DELIVERY.c.state == "waiting", DELIVERY.c.attempts >= ATTEMPTS, free)
        cut_off = sa.literal("cut off at its last attempt; before: ") + sa.func.coalesce(DELIVERY.c.said, "nothing")
        due = (
            sa.select(DELIVERY.c.delivery_id)
            .join(OUTLET, OUTLET.c.outlet_id == DELIVERY.c.outlet_id)
            .where(
                DELIVERY.c.state == "waiting",
                DELIVERY.c.due_at <= stored(now),
                free,
                OUTLET.c.stopped.is_(None),
            )
            .order_by(DELIVERY.c.due_at, DELIVERY.c.delivery_id)
            .limit(1)
        )
        with self.engine.begin() as connection:
            connection.execute(spent.values(state="dead", said=cut_off, claimed_until=None, settled_at=stored(now)))
            if connection.dialect.name == "postgresql":
                due = due.with_for_update(skip_locked=True, of=DELIVERY)
            found = connection.execute(due).scalar()
            if found is None:
                return None
            connection.execute(
                DELIVERY.update()
                .where(DELIVERY.c.delivery_id == found)
                .values(attempts=DELIVERY.c.attempts + 1, claimed_until=stored(now + lease))
            )
            return self._deliveries(connection, DELIVERY.c.delivery_id == found)[0]

    def settle(self, taken: Delivery, state: State, said: str, *, due_at: datetime | None = None) -> bool:
        """Write down what came of a claimed delivery; nothing where another has claimed it since.

        Args:
            due_at: of one that goes on waiting.
        """
        values: dict[str, Any] = {"state": state, "said": said[:SAID_LENGTH], "claimed_until": None}
        values |= {"due_at": stored(due_at)} if due_at is not None else {"settled_at": stored(clock.wall())}
        with self.engine.begin() as connection:
            changed = connection.execute(
                DELIVERY.update()
                .where(
                    DELIVERY.c.delivery_id == taken.id,
                    DELIVERY.c.attempts == taken.attempts,
                    DELIVERY.c.state == "waiting",
                )
                .values(**values)
            )
        return bool(changed.rowcount)

    def retry(self, now: datetime, delivery_id: str | None = None) -> int:
        """Let dead deliveries (one, or all) begin anew, and their outlets with them; returns how many.

        Raises:
            NotFoundError: there is no dead delivery of that id.
        """
        dead = DELIVERY.c.state == "dead"
        if delivery_id is not None:
            dead = sa.and_(dead, DELIVERY.c.delivery_id == delivery_id)
        with self.engine.begin() as connection:
            outlets = sa.select(DELIVERY.c.outlet_id).where(dead)
            connection.execute(OUTLET.update().where(OUTLET.c.outlet_id.in_(outlets)).values(stopped=None))
            changed = connection.execute(
                DELIVERY.update()
                .where(dead)
                .values(state="waiting", attempts=0, due_at=stored(now), claimed_until=None, settled_at=None)
            )
        if delivery_id is not None and not changed.rowcount:
            raise NotFoundError(
                f"There is no dead delivery {delivery_id!r}.", mend="`churn outlets dead` lists them.", field="delivery"
            )
        return int(changed.rowcount)

    def deliveries(self, state: State | None = None, *, last: int | None = None) -> list[Delivery]:
        """Deliveries, the oldest first; ``last`` of the newest."""
        with reading(self.engine) as connection:
            found = self._deliveries(connection, DELIVERY.c.state == state if state else sa.true(), last)
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """How many deliveries there are, by outlet id and state."""
        query = sa.select(DELIVERY.c.outlet_id, DELIVERY.c.state, sa.func.count()).group_by(
            DELIVERY.c.outlet_id, DELIVERY.c.state
        )
        found: dict[str, dict[str, int]] = {}
        with reading(self.engine) as connection:
            for outlet_id, state, count in connection.execute(query):
                found.setdefault(outlet_id, {})[state] = count
        return found

    def forget(self, before: datetime) -> int:
        """Drop deliveries that were done before a moment; their announcements stay, so that they are not made again."""
        with self.engine.begin() as connection:
            gone = connection.execute(
                DELIVERY.delete().where(DELIVERY.c.state == "done", DELIVERY.c.settled_at < stored(before))
            )
        return int(gone.rowcount)

    @staticmethod
    def _deliveries(connection: sa.Connection, which: Any, last: int | None = None) -> list[Delivery]:
        query = (
            sa.select(DELIVERY, ANNOUNCEMENT, OUTLET.c.name)
            .join(ANNOUNCEMENT, ANNOUNCEMENT.c.announcement_id == DELIVERY.c.announcement_id)
            .join(OUTLET, OUTLET.c.outlet_id == DELIVERY.c.outlet_id)
            .where(which)
            .order_by(DELIVERY.c.delivery_id.desc())
            .limit(last)
        )
        return [
            Delivery(
                id=row.delivery_id,
                outlet_id=row.outlet_id,
                outlet=row.name,
                announcement=_announcement(row),
                state=row.state,
                attempts=row.attempts,
                due_at=moment(row.due_at),
                settled_at=None if row.settled_at is None else moment(row.settled_at),
                said=row.said,
            )
            for row in reversed(connection.execute(query).all())
        ]


def _announcement(row: sa.Row[Any]) -> Announcement:
    return Announcement(row.announcement_id, row.key, row.kind, json.loads(row.payload), moment(row.announced_at))
