"""Push one customer's newer features online, through Feast, after checking every value of the row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform import clock
from churn_platform.errors import InvalidRequestError, UnknownCustomerError
from churn_platform.features.catalogue import BATCH_FAMILIES
from churn_platform.features.feast_objects import JOIN_KEY
from churn_platform.features.packed.layout import Value, View
from churn_platform.features.packed.opening import open_store

if TYPE_CHECKING:
    from churn_platform.records.home import Home

EVENT = "event_timestamp"
CREATED = "created_timestamp"


@dataclass(frozen=True)
class PushRow:
    """A checked row.

    Attributes:
        customer: the pseudonym.
        event, created: aware.
        values: view → feature → value; each view is whole.
    """

    customer: str
    event: datetime
    created: datetime
    values: Mapping[str, Mapping[str, Value]]


def read_push(
    row: Mapping[str, Any], views: Sequence[View], find: Callable[[str], str | None], *, now: datetime
) -> PushRow:
    """Check a row as it came from JSON.

    Args:
        row: ``customer_id`` (the company's own, text), ``event_timestamp`` (ISO 8601 with an offset), perhaps
            ``created_timestamp``, and features: every feature of each view that is touched, null for unknown.
        views: those of the online store.
        find: the company's own id → pseudonym.
        now: the present (aware): no row may be of a later time.

    Raises:
        InvalidRequestError: an unknown feature, a value of another type, a time without an offset or in the future,
            an id that is not text, a view that is not whole; ``errors`` names every field at fault.
        UnknownCustomerError: nobody has this id.
    """
    errors: list[dict[str, Any]] = []

    def wrong(field: str, detail: str) -> None:
        errors.append({"field": field, "detail": detail})

    customer = row.get(JOIN_KEY)
    if not isinstance(customer, str) or not customer:
        wrong(JOIN_KEY, f"is {_kind(customer)}; the company's own id is text")
    event = _time(row, EVENT, now, wrong)
    created = _time(row, CREATED, now, wrong) if row.get(CREATED) is not None else now
    kinds = {column.name: column.kind for view in views for column in view.layout.columns}
    given = {name: value for name, value in row.items() if name not in (JOIN_KEY, EVENT, CREATED)}
    for name, value in given.items():
        if name not in kinds:
            wrong(name, "is no feature that is online; `churn features list` names them")
        elif problem := _problem(value, kinds[name]):
            wrong(name, problem)
    touched = [view for view in views if given.keys() & set(view.layout.names)]
    for view in touched:
        if view.name in BATCH_FAMILIES:
            wrong(next(n for n in view.layout.names if n in given), "is made for whole months, and never pushed")
        for name in view.layout.names:
            if name not in given:
                wrong(name, f"is missing: the view {view.name} is written as a whole; null is a value")
    if not touched and not errors:
        wrong("features", "are missing: a row has every feature of at least one view")
    if errors:
        first = errors[0]
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InvalidRequestError(
            f"The row to push is not valid: {first['field']} {first['detail']}{more}.",
            mend="Mend the row; nothing of it was written.",
            field=first["field"],
            errors=errors,
        )
    pseudonym = find(str(customer))
    if pseudonym is None:
        raise UnknownCustomerError(
            "No customer has this id.",
            mend="Send the id as the company's own tables write it; ids are compared letter by letter.",
            field=JOIN_KEY,
        )
    assert event is not None and created is not None  # noqa: S101, PT018 - else there are errors
    return PushRow(
        pseudonym,
        event,
        created,
        {view.name: {name: _plain(given[name]) for name in view.layout.names} for view in touched},
    )


class Pusher:
    """Writes checked rows through Feast; keeps Feast's registry open between them."""

    def __init__(self, home: Home) -> None:
        from churn_platform.features.feast_store import open_feast
        from churn_platform.records.vault import IdentityVault

        self._store = open_store(home)
        self._vault = IdentityVault.open(home)
        self._feast = open_feast(home)

    def push(self, row: Mapping[str, Any]) -> PushRow:
        """Check a row and write it; visible online when this returns, unless the store has a newer one.

        Raises:
            InvalidRequestError, UnknownCustomerError: see :func:`read_push`.
            FeatureError: a view waits for its next materialization with another list of features.
            NotReadyError: nothing is online yet.
        """
        checked = self.check(row)
        self.write(checked)
        return checked

    def check(self, row: Mapping[str, Any]) -> PushRow:
        """Check a row and write nothing."""
        return read_push(row, self._store.generation().views, self._vault.find, now=clock.now())

    def write(self, row: PushRow) -> None:
        """Write a checked row."""
        write(self._feast, row)


def write(feast: Any, row: PushRow) -> None:
    """Write a checked row through Feast, view by view."""
    import pandas as pd

    for view, values in row.values.items():
        # types are given, or pandas would guess: a null number and a null text are both None
        columns: dict[str, Any] = {
            JOIN_KEY: [row.customer],
            EVENT: [pd.Timestamp(row.event)],
            CREATED: [pd.Timestamp(row.created)],
            **{name: [value] for name, value in values.items()},
        }
        # unlike write_to_online_store this writes a row of nulls too
        found = feast.get_feature_view(view, allow_registry_cache=True)
        feast._get_provider().ingest_df(found, pd.DataFrame(columns))


def _time(row: Mapping[str, Any], field: str, now: datetime, wrong: Callable[[str, str], None]) -> datetime | None:
    value = row.get(field)
    if not isinstance(value, str):
        wrong(field, f"is {_kind(value)}; a time is text such as 2026-03-01T00:00:00Z")
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        wrong(field, "is no time of ISO 8601, such as 2026-03-01T00:00:00Z")
        return None
    if moment.tzinfo is None:
        wrong(field, "has no offset: end it in Z for UTC, or in one such as +01:00")
        return None
    if moment > now:
        wrong(field, f"lies in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} now")
        return None
    return moment


def _problem(value: Any, kind: str) -> str | None:
    if value is None:
        return None
    if kind == "category":
        return None if isinstance(value, str) else f"is {_kind(value)}; it takes text or null"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {_kind(value)}; it takes a number or null"
    return None if math.isfinite(value) else "is not finite; unknown is null"


def _plain(value: Any) -> Value:
    return value if value is None or isinstance(value, str) else float(value)


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")
