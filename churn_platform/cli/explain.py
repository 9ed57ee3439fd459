"""What the operating system refuses, as errors of ours: a full disk, no permission."""

from __future__ import annotations

import errno
import re

from churn_platform.errors import ChurnError, HomeError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL_TEXT = re.compile(r"no space left on device|disk quota exceeded|failed to offload data block", re.IGNORECASE)
_CLOSED_TEXT = re.compile(r"permission denied|read-only file system", re.IGNORECASE)


def explained(error: BaseException) -> ChurnError | None:
    """The error of ours that says what happened, or None for one that is a fault of the program.

    Libraries wrap what the system says in errors of their own, so causes and texts are looked at as well.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        number = current.errno if isinstance(current, OSError) else None
        text = str(current)
        if number in _FULL or _FULL_TEXT.search(text):
            return _full(current)
        if number in _CLOSED or (not isinstance(current, OSError) and _CLOSED_TEXT.search(text)):
            return HomeError(
                f"The system does not let this program read or write{_where(current)}: {_first_line(text)}.",
                mend="Give your user access to it, or set CHURN_HOME to a folder that you may write to.",
            )
        current = current.__cause__ or current.__context__
    return None


def full_disk(error: ChurnError) -> ChurnError | None:
    """The error of ours about the disk, where a step failed for want of room."""
    return _full(error) if _FULL_TEXT.search(error.message) else None


def _full(error: BaseException) -> ChurnError:
    return HomeError(
        f"The disk is full{_where(error)}: {_first_line(str(error))}.",
        mend="Make room, or set CHURN_HOME to a folder on another disk; what was half written is removed.",
    )


def _where(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return f" ({name})" if name else ""


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0].strip().rstrip(".")
