"""What ``churn doctor`` finds: one thing that was looked at, whether it is well, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from churn_platform.errors import ChurnError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: unique; stays the same from release to release.
        says: what was found, in words.
        mend: what to do; empty where nothing must be done.
    """

    name: str
    ok: bool
    says: str
    mend: str = ""


Check = Callable[[], Finding]


def well(name: str, says: str) -> Finding:
    return Finding(name, True, says)


def ill(name: str, says: str, mend: str) -> Finding:
    return Finding(name, False, says, mend)


def look(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """Do the checks. One that cannot be done is a finding, too: it never ends the others."""
    found = []
    for name, check in checks:
        try:
            found.append(check())
        except ChurnError as error:
            found.append(ill(name, error.message, error.mend))
        except Exception as error:
            told = f"it cannot be looked at: {type(error).__name__}: {error}".splitlines()[0]
            found.append(ill(name, told, "See that the files of the home can be read; restore them from a backup."))
    return found
