"""Strict reading of request bodies: every fault names its field, the rule, and the mend."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from churn_platform.errors import InvalidRequestError
from churn_platform.serving.schemas import PredictRequest

MAX_BODY = 64 * 1024
MAX_TEXT = 512
MOST_NAMES, MOST_LENGTH = 120, 4_000
"""How many features a problem names, and in how many characters."""
_BODY_FIELDS = ("customer_id", "features")


class _Loose(msgspec.Struct, forbid_unknown_fields=True):
    # Types of the values are judged below, where a fault can name the feature; msgspec would say
    # `features[...]`.
    customer_id: Any = None
    features: Any = None


class _Raw(msgspec.Struct):
    features: dict[str, msgspec.Raw]


_loose = msgspec.json.Decoder(_Loose)
_anything = msgspec.json.Decoder()
_raw = msgspec.json.Decoder(_Raw)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`")

ONE_OF = 'Send {"customer_id": "…"} or {"features": {…}}.'


def read_predict(body: bytes, kinds: Mapping[str, str]) -> PredictRequest:
    """Decode the body of POST /v1/predict.

    Args:
        body: the raw bytes.
        kinds: the features of the model: name → "number" or "category".

    Returns:
        A request with exactly one of ``customer_id`` and ``features``; numbers are finite floats.

    Raises:
        InvalidRequestError: malformed JSON, an unknown field, a wrong type, both or neither given; names each
            field.
    """
    loose = _decode(body)
    if loose.customer_id is not None and loose.features is not None:
        raise InvalidRequestError(
            "Both customer_id and features are given; a prediction is made from one of them.",
            mend=ONE_OF,
            field="customer_id",
        )
    if loose.customer_id is not None:
        return PredictRequest(customer_id=read_customer_id(loose.customer_id))
    if loose.features is not None:
        return PredictRequest(features=read_features(loose.features, kinds))
    raise InvalidRequestError("Neither customer_id nor features is given.", mend=ONE_OF, field="customer_id")


def read_customer_id(value: object) -> str:
    """A company's own id from a body: a text of 1 to 512 characters."""
    if not isinstance(value, str):
        hint = f' Write it as "{value}".' if isinstance(value, int) and not isinstance(value, bool) else ""
        raise InvalidRequestError(
            f"customer_id must be a text, not {_json_type(value)}.",
            mend=f"Ids are text even where they look like numbers.{hint}",
            field="customer_id",
        )
    if not value or len(value) > MAX_TEXT:
        raise InvalidRequestError(
            f"customer_id must have 1 to {MAX_TEXT} characters, not {len(value)}.",
            mend="Send the id as the company's own tables write it.",
            field="customer_id",
        )
    return value


def read_features(value: object, kinds: Mapping[str, str]) -> dict[str, float | str | None]:
    """Features from a body; all faults are collected before it raises.

    Raises:
        InvalidRequestError: not an object, unknown names (with close matches), wrong types, or nothing known.
    """
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"features must be an object, not {_json_type(value)}.",
            mend=f'Send {{"features": {{"NAME": VALUE, …}}}}. {names_of(kinds)}',
            field="features",
        )
    known: dict[str, float | str | None] = {}
    faults: list[dict[str, str]] = []
    for name, item in value.items():
        kind = kinds.get(name)
        if kind is None:
            faults.append(_fault(name, "The model has no such feature.", _close(name, kinds)))
            continue
        read, fault = _read_value(item, kind)
        if fault:
            faults.append(_fault(name, *fault))
        known[name] = read
    if faults:
        names = ", ".join(fault["field"].removeprefix("features.") for fault in faults[:5])
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InvalidRequestError(
            f"{len(faults)} of the features cannot be read: {names}{more}.",
            mend=f"See errors for each of them. {names_of(kinds)}",
            field=faults[0]["field"],
            errors=faults,
        )
    if all(item is None for item in known.values()):
        raise InvalidRequestError(
            "No feature is known: features needs at least one that is not null.",
            mend=f"Send what is known of the customer. {names_of(kinds)}",
            field="features",
        )
    return known


def names_of(kinds: Mapping[str, str]) -> str:
    """The features of the model in a sentence, by kind, for callers who may not read ``GET /v1/models``; at most
    :data:`MOST_NAMES` of them and :data:`MOST_LENGTH` characters."""
    shown: dict[str, list[str]] = {"number": [], "category": []}
    room, told = MOST_LENGTH, 0
    for name, kind in kinds.items():
        room -= len(name) + 2
        if room < 0 or told == MOST_NAMES:
            break
        shown.setdefault(kind, []).append(name)
        told += 1
    words = {"number": "numbers", "category": "texts"}
    parts = [f"{words.get(kind, kind)}: {', '.join(names)}" for kind, names in shown.items() if names]
    if told < len(kinds):
        parts.append(f"and {len(kinds) - told} more, which GET /v1/models lists (models:read)")
    return f"The model reads {'; '.join(parts)}."


def _decode(body: bytes) -> _Loose:
    try:
        return _loose.decode(body)
    except msgspec.ValidationError as error:
        raise _shape_error(body, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = str(error) if isinstance(error, msgspec.DecodeError) else "text that is not UTF-8"
        raise InvalidRequestError(
            f"The body is not JSON: {what.removeprefix('JSON is malformed: ')}.",
            mend=f"{ONE_OF} JSON has no NaN or Infinity: an unknown value is null.",
            field="body",
        ) from None
    except RecursionError:
        raise InvalidRequestError("The body is nested too deep.", mend=ONE_OF, field="body") from None


def _shape_error(body: bytes, message: str) -> InvalidRequestError:
    """The error for JSON of the wrong shape: no object, an unknown field, or a number out of range."""
    if found := _UNKNOWN.search(message):
        name = found["name"]
        close = difflib.get_close_matches(name, _BODY_FIELDS, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        return InvalidRequestError(f"The body has no field {name!r}.", mend=f"{ONE_OF}{hint}", field=name)
    if "out of range" in message:
        name = _out_of_range(body)
        return InvalidRequestError(
            f"{name} holds a number that is too large for a 64-bit float.",
            mend="Send a finite number, or null for unknown.",
            field=name,
        )
    return InvalidRequestError(
        f"The body must be an object: {message[:1].lower()}{message[1:]}.", mend=ONE_OF, field="body"
    )


def _out_of_range(body: bytes) -> str:
    """The field whose number is out of range."""
    try:
        features = _raw.decode(body).features
    except (msgspec.DecodeError, RecursionError):
        return "body"
    for name, raw in features.items():
        try:
            _anything.decode(raw)
        except msgspec.DecodeError:
            return f"features.{name}"
    return "features"


def _read_value(value: object, kind: str) -> tuple[float | str | None, tuple[str, str] | None]:
    """A value for a feature of some kind, and (message, mend) where it is not one."""
    if value is None:
        return None, None
    if kind == "category":
        if not isinstance(value, str):
            return None, (f"It must be a text, not {_json_type(value)}.", "Send a text, or null for unknown.")
        if len(value) > MAX_TEXT:
            return None, (
                f"It has {len(value)} characters; {MAX_TEXT} are allowed.",
                "Send the category alone.",
            )
        return value, None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, (f"It must be a number, not {_json_type(value)}.", "Send a number, or null for unknown.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return None, ("It must be a finite number.", "Send a finite number, or null for unknown.")
    return number, None


def _fault(name: str, message: str, mend: str) -> dict[str, str]:
    return {"field": f"features.{name[:MAX_TEXT]}", "message": message, "mend": mend}


def _close(name: str, kinds: Mapping[str, str]) -> str:
    matches = difflib.get_close_matches(name[:MAX_TEXT], kinds, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(matches)}?" if matches else "The mend of the problem lists the names."


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
