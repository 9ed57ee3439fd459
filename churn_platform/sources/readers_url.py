"""Where tables stand: a path on this machine, or the URL of a database or of a bucket. Never a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from churn_platform.errors import ContractError, SourceMissingError

DATABASES = ("postgresql", "duckdb", "postgres")
BUCKETS = ("s3",)
SECRETS = ("password", "passfile", "sslpassword", "aws_secret_access_key", "secret_key", "session_token")
_USERINFO = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")
_QUERY = re.compile(rf"(?i)\b({'|'.join(SECRETS)})\s*=\s*[^\s&'\"]+")


@dataclass(frozen=True)
class SourceUrl:
    """A database or a bucket, made by :func:`parse_source`.

    Args:
        text: the URL as it may be kept and shown; it holds no password.
    """

    text: str

    @property
    def scheme(self) -> str:
        """``postgresql``, ``s3``, ..."""
        scheme = urlsplit(self.text).scheme.lower()
        return "postgresql" if scheme == "postgres" else scheme

    @property
    def is_bucket(self) -> bool:
        """Whether it holds files, not tables."""
        return self.scheme in BUCKETS

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.text).netloc.rpartition("@")[2] or "the local socket"

    @property
    def database(self) -> str:
        """The name of the database (or nothing)."""
        return unquote(urlsplit(self.text).path.strip("/"))

    def option(self, name: str) -> str | None:
        """A value of the query part."""
        return dict(parse_qsl(urlsplit(self.text).query)).get(name)

    def without(self, *names: str) -> str:
        """The URL without options that are ours and not the driver's."""
        url, _, query = self.text.partition("?")
        kept = [(name, value) for name, value in parse_qsl(query) if name not in names]
        return f"{url}?{urlencode(kept)}" if kept else url

    def join(self, path: str) -> str:
        """The URL of an object below a bucket's prefix; a path that is a URL already stays as it is."""
        return path if "://" in path else f"{self.text.rstrip('/')}/{path.lstrip('/')}"

    def __str__(self) -> str:
        return self.text


def parse_source(text: str | Path) -> Path | SourceUrl:
    """What the user means by a source.

    Raises:
        SourceMissingError: a URL of a kind that is not read.
        ContractError: a URL that holds a password.
    """
    written = str(text)
    # a shell or a path object may have merged the two slashes
    match = re.match(r"^([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?=[^/])|^([A-Za-z][A-Za-z0-9+.-]+):///", written)
    if match is None or isinstance(text, Path):
        return Path(written).expanduser()
    scheme = (match.group(1) or match.group(2)).lower()
    if scheme not in (*DATABASES, *BUCKETS):
        known = ", ".join(f"{name}://" for name in (*DATABASES[:2], *BUCKETS))
        raise SourceMissingError(
            f"{scheme}:// is no source that is read.",
            mend=f"Give a file, a folder, or a URL of one of these kinds: {known}.",
            field="source",
        )
    url = written if "://" in written else written.replace(":/", "://", 1)
    check_secretless(url)
    return SourceUrl(url)


def check_secretless(url: str) -> None:
    """Refuse a URL that holds a password: it would be seen in the list of processes, and kept.

    Raises:
        ContractError: it holds one; the message does not.
    """
    parts = urlsplit(url)
    names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.password is None and not names & set(SECRETS):
        return
    bucket = parts.scheme.lower() in BUCKETS
    mend = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if bucket else "PGPASSWORD, or a line in ~/.pgpass"
    raise ContractError(
        f"The source URL {redact(url)} holds a secret, which would be seen by others and kept.",
        mend=f"Take it out of the URL; put it into {mend}.",
        field="source",
    )


def is_remote(path: str) -> bool:
    """Whether a contract's path is a URL."""
    return "://" in path


def redact(text: str) -> str:
    """A message without the passwords of the URLs and connection strings in it."""
    return _QUERY.sub(r"\1=***", _USERINFO.sub(r"\1:***@", text))
