"""Every stored record says which schema it follows, and in which version: ``"table_version/1"``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from churn_platform.errors import RecordError

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_TAG: Final = re.compile(r"([a-z][a-z0-9_]*)/([1-9][0-9]{0,8})")


def schema_tag(name: str, version: int) -> str:
    """The tag that goes under ``"schema"`` in a record: ``schema_tag("tree", 1)`` is ``"tree/1"``.

    Raises:
        ValueError: for a name that is not lowercase snake case, or a version below 1.
    """
    if not _NAME.fullmatch(name) or type(version) is not int or not 1 <= version < 10**9:
        raise ValueError(f"{name!r}, {version!r}: a schema has a lowercase snake case name and a version from 1")
    return f"{name}/{version}"


def check_schema(value: Any, name: str, versions: Collection[int]) -> int:
    """Check that a record follows a schema in a version that the caller can read.

    Args:
        value: the record (a mapping with the key ``schema``), or its tag.
        name: the schema that is expected.
        versions: the versions that can be read.

    Returns:
        The record's version.

    Raises:
        RecordError: no tag, another schema, or a version that is not among ``versions``.
    """
    tag = value.get("schema") if isinstance(value, Mapping) else value
    match = _TAG.fullmatch(tag) if isinstance(tag, str) else None
    if match is None:
        raise RecordError(
            f"The record carries no schema: a {name} was expected.",
            mend=f'Give a record that this platform wrote: its field "schema" is "{name}/{max(versions)}".',
            field="schema",
        )
    if match[1] != name:
        raise RecordError(
            f"The record is a {match[1]}, where a {name} was expected.",
            mend=f"Give a record of the schema {name}.",
            field="schema",
        )
    version = int(match[2])
    if version not in versions:
        known = ", ".join(str(known) for known in sorted(versions))
        mend = (
            "Use the release that wrote it, or a newer one."
            if version > max(versions)
            else "Run `churn migrate`, or materialize the asset that wrote it again."
        )
        raise RecordError(
            f"The record follows {name}/{version}; this release reads {name} in version {known}.",
            mend=mend,
            field="schema",
        )
    return version
