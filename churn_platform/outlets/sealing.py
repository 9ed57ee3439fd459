"""Secrets of outlets at rest: AES-256-GCM under a key that is derived from the identity vault's."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from churn_platform.errors import RecordError
from churn_platform.records import vault_keys
from churn_platform.records.vault import IdentityVault

if TYPE_CHECKING:
    from churn_platform.records.home import Home

_NONCE: Final = 12


class Seal:
    """Seals and opens small JSON objects. Each is bound to its outlet: it cannot be moved to another."""

    def __init__(self, key: bytes) -> None:
        """``key``: 32 bytes of high entropy; what is used is derived from it (HKDF-Expand, RFC 5869)."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(hmac.digest(key, b"churn-platform outlets 1 seal\x01", "sha256"))

    @classmethod
    def of(cls, home: Home) -> Self:
        """The seal of a home: of the key of its vault, which is made where there is none."""
        IdentityVault.open(home)
        return cls(vault_keys.load(home.vault / "vault.key", may_create=False))

    def seal(self, values: Mapping[str, str], outlet_id: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, json.dumps(dict(values)).encode(), outlet_id.encode())

    def open(self, sealed: bytes, outlet_id: str) -> dict[str, Any]:
        """What was sealed.

        Raises:
            RecordError: altered, or sealed under another key.
        """
        from cryptography.exceptions import InvalidTag

        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], outlet_id.encode())
        except InvalidTag as error:
            raise RecordError(
                "The secret of an outlet does not open with this home's key.",
                mend="Restore the key of the vault, or remove the outlet and add it again.",
            ) from error
        opened: dict[str, Any] = json.loads(plain)
        return opened
