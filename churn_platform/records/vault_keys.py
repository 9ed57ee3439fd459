"""The vault's key: where it comes from, and the keys that are derived from it, one for each purpose."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from churn_platform.errors import ConfigurationError, HomeError, RecordError
from churn_platform.records.files import create_once
from churn_platform.settings import settings

_SIZE: Final = 32
_NONCE: Final = 12
# Crockford's base32 in lower case: no i, l, o, u, so that a pseudonym survives being read out loud.
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)


def load(file: Path, *, may_create: bool) -> bytes:
    """The vault's key: ``settings().vault_key``, else the key file's content.

    Args:
        file: the key file (base64, mode 0600).
        may_create: make the file with a new key where there is none.

    Raises:
        ConfigurationError: the setting is not base64 of 32 bytes.
        HomeError: the file is missing (and may not be made), or does not hold a key.
    """
    setting = settings().vault_key
    if setting is not None:
        key = _decode(setting.get_secret_value())
        if key is None:
            raise ConfigurationError(
                "CHURN_VAULT_KEY is not base64 of 32 bytes.",
                mend="Make a key with `openssl rand -base64 32`.",
                field="vault_key",
            )
        return key
    if may_create and not file.exists():
        create_once(file, base64.b64encode(secrets.token_bytes(_SIZE)) + b"\n", mode=0o600)
    try:
        if file.stat().st_mode & 0o007:
            raise HomeError(
                f"The identity vault's key {file} can be read by every user of this machine.",
                mend=f"Run `chmod 600 {file}`; if others use this machine, take the key as known to them.",
                field="vault_key",
            )
        key = _decode(file.read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise HomeError(
            f"The identity vault's key {file} is missing.",
            mend="Restore it from its backup, or set CHURN_VAULT_KEY: without it no id can be read back.",
            field="vault_key",
        ) from error
    except UnicodeDecodeError:
        key = None
    if key is None:
        raise HomeError(
            f"{file} does not hold a key: it is not base64 of 32 bytes.",
            mend="Restore it from its backup, or set CHURN_VAULT_KEY.",
            field="vault_key",
        )
    return key


def _decode(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _SIZE else None


@dataclass(frozen=True)
class VaultKeys:
    """Keys derived from the vault's key by HKDF-SHA256 (RFC 5869): none of them tells about another.

    Attributes:
        check: proves that the vault's key is the right one, and tells nothing about it.
        row_salt: see :attr:`churn_platform.records.vault.IdentityVault.row_salt`.
    """

    check: bytes = field(repr=False)
    row_salt: bytes = field(repr=False)
    _lookup: bytes = field(repr=False)
    _pseudonym: bytes = field(repr=False)
    _cipher: Any = field(repr=False)

    @classmethod
    def derive(cls, key: bytes) -> Self:
        """Derive the keys from 32 bytes of high entropy."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return cls(
            check=_expand(key, "check"),
            row_salt=_expand(key, "row"),
            _lookup=_expand(key, "lookup"),
            _pseudonym=_expand(key, "pseudonym"),
            _cipher=AESGCM(_expand(key, "seal")),
        )

    def lookup(self, customer_id: str) -> bytes:
        """What a customer's row is found by: HMAC-SHA256 of the id in UTF-8; 32 bytes."""
        return hmac.digest(self._lookup, customer_id.encode(), "sha256")

    def pseudonym(self, number: int) -> str:
        """The pseudonym for a number in [0, 2^64): 60 bits of HMAC-SHA256 as 12 characters."""
        mac = hmac.digest(self._pseudonym, number.to_bytes(8), "sha256")
        bits = int.from_bytes(mac[:8]) >> 4
        return "".join([_PAIRS[bits >> shift & 0x3FF] for shift in (50, 40, 30, 20, 10, 0)])

    def seal(self, customer_id: str, lookup: bytes, nonce: bytes) -> bytes:
        """The id under AES-256-GCM, bound to its row: nonce (12 random bytes, used once), ciphertext, tag."""
        sealed: bytes = self._cipher.encrypt(nonce, customer_id.encode(), lookup)
        return nonce + sealed

    def unseal(self, sealed: bytes, lookup: bytes) -> str:
        """The id that :meth:`seal` was given.

        Raises:
            RecordError: the row was altered, or sealed under another key.
        """
        from cryptography.exceptions import InvalidTag

        try:
            plain: bytes = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], lookup)
        except (InvalidTag, ValueError) as error:
            raise RecordError(
                "A row of the identity vault was altered: it does not open with the vault's key.",
                mend="Restore the vault from a backup.",
            ) from error
        return plain.decode()


def _expand(key: bytes, purpose: str) -> bytes:
    # One block of HKDF-Expand; the extract step is for keys that are not uniformly random, as this one is.
    return hmac.digest(key, b"churn-platform vault 1 " + purpose.encode() + b"\x01", "sha256")
