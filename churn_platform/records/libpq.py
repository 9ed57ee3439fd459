"""The URL of a PostgreSQL database, given to libpq in parts.

A URL that libpq cannot read it repeats in its error, and with that the password in it.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, unquote

import sqlalchemy as sa


def parsed(text: str) -> sa.URL:
    """A URL ``postgresql://…`` (also ``postgres://`` and with a driver).

    Raises:
        ValueError: it is none; its words are our own, without any part of the URL.
    """
    if not text.startswith(("postgresql://", "postgres://", "postgresql+")):
        raise ValueError("it must be of the form postgresql://user@host/database")
    try:
        url = sa.make_url("postgresql://" + text.partition("://")[2])
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError("it must be of the form postgresql://user@host/database") from None
    if "@" in (url.host or ""):
        # What follows the first @ would be taken for the host, and said.
        raise ValueError("an @ in the user or password is written %40")
    return url.set(host=unquote(url.host)) if url.host else url


def connect_arguments(url: sa.URL, *, seconds: int) -> dict[str, Any]:
    """Keyword arguments of ``psycopg.connect`` and ``psycopg2.connect``, with the password: never for a log.

    Args:
        seconds: how long to wait for a connection, where the URL does not say.
    """
    _, options = sa.dialects.registry.load("postgresql.psycopg2")().create_connect_args(url)
    return {"connect_timeout": seconds, **options}


def parts(url: sa.URL) -> dict[str, str]:
    """``host``, ``port``, ``database``, ``user``, ``password`` and ``sslmode`` of a URL, as text, for libraries that
    ask for each: never for a log. The password is libpq's own ``PGPASSWORD`` where the URL has none."""
    query = {name: value for name, value in url.query.items() if isinstance(value, str)}
    return {
        "host": url.host or query.get("host", ""),
        "port": str(url.port or query.get("port", 5432)),
        "database": url.database or "",
        "user": url.username or "",
        "password": str(url.password or os.environ.get("PGPASSWORD", "")),
        "sslmode": query.get("sslmode", "prefer"),
    }


def redacted(words: str, url: sa.URL) -> str:
    """What a library said about a database, without the URL's passwords in any of their spellings."""
    passwords = [str(url.password or "")]
    passwords += [v for name, v in url.query.items() if "password" in name and isinstance(v, str)]
    spelt = {form for one in passwords for form in (one, quote(one, safe=""), quote(one, safe=" +")) if form}
    for form in sorted(spelt, key=len, reverse=True):
        words = words.replace(form, "***")
    return words
