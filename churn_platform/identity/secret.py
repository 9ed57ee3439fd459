"""The text of an API key: ``churn_<key id>_<secret>``, as random as a key can be."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH: Final = 12
# 62^43 > 2^256: room for 32 random bytes.
_SECRET_LENGTH: Final = 43
_FORM: Final = re.compile(rf"churn_([{_ID_ALPHABET}]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}}")


def generate() -> tuple[str, str]:
    """A new key id (60 random bits) and the full text of its key (256 further random bits)."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    number = secrets.randbits(256)
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return key_id, f"churn_{key_id}_{''.join(digits)}"


def key_id_of(text: str) -> str | None:
    """The key id in a key's text; ``None`` where the text has not the form of a key."""
    match = _FORM.fullmatch(text)
    return match[1] if match else None


def fingerprint(text: str) -> bytes:
    """What is stored of a key: SHA-256 of its text (ASCII), 32 bytes.

    A slow hash (Argon2, scrypt) protects passwords, which can be guessed. 256 random bits cannot: a fast hash
    is as safe here, and does not let strangers make the service work hard for every wrong key.
    """
    return hashlib.sha256(text.encode()).digest()
