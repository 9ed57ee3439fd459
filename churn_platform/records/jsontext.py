"""JSON with one spelling per value, so that equal values have equal digests.

As in RFC 8785: keys sorted, no white space, UTF-8 without escapes that are not needed, no NaN or infinity.
Unlike it: keys are sorted by code point, and numbers are spelled as Python does (shortest round trip; 1.0
stays 1.0).
"""

from __future__ import annotations

import json
from typing import Any

from churn_platform.errors import RecordError


def canonical(value: Any) -> bytes:
    """The canonical JSON of ``value`` (dict with string keys, list, tuple, str, int, float, bool, None).

    Raises:
        RecordError: for anything else, for NaN and infinity, and for text that is not Unicode.
    """
    try:
        _check_keys(value)
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(
            f"The value has no canonical JSON: {error}.",
            mend="Use only dicts with string keys, lists, text, finite numbers, booleans and null.",
        ) from error


def _check_keys(value: Any) -> None:
    # json.dumps would turn the key 1 into "1", but sort it as a number: two spellings of one text.
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)
