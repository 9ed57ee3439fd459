"""The identity vault: the only way from a company's customer ids to pseudonyms and back.

What the database holds of a customer is ``HMAC-SHA256(id)`` to find the row by, the pseudonym, and the id
itself under AES-256-GCM. Without the key, which never is in the database, none of it says who that is. A
pseudonym is made from the vault's key and a number that is used once, not from the id: when the row is gone,
nothing links the two.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from churn_platform.errors import HomeError, RecordError
from churn_platform.records import vault_keys
from churn_platform.records.database import own_tables
from churn_platform.records.home import Home
from churn_platform.records.sql import open_database
from churn_platform.records.vault_rows import IdentityRow, PostgresRows, SqliteRows, VaultRows, batches

_BATCH: Final = 10_000
_COMMIT: Final = 100_000
_NONCE: Final = 12


class IdentityVault:
    """Pseudonyms of customers. Safe to use from several processes, threads, and forked children at once.

    Args:
        rows: the tables, migrated to head.
        keys: the keys derived from the vault's key.
    """

    def __init__(self, rows: VaultRows, keys: vault_keys.VaultKeys) -> None:
        self._rows = rows
        self._keys = keys

    @classmethod
    def open(cls, home: Home) -> Self:
        """Open the vault of a home, making it (and, in the embedded profile, its key) where there is none.

        Raises:
            ConfigurationError: ``CHURN_VAULT_KEY`` is not base64 of 32 bytes.
            HomeError: the key is missing, unreadable, or not the one that this vault was made with.
        """
        place = own_tables(home, home.vault / "vault.db")
        open_database(place, migrations="vault").dispose()
        rows: VaultRows
        if isinstance(place, Path):
            place.chmod(0o600)
            rows = SqliteRows(place)
        else:
            rows = PostgresRows(place)
        known = rows.fact("key_check")
        keys = vault_keys.VaultKeys.derive(vault_keys.load(home.vault / "vault.key", may_create=known is None))
        if known is None:
            rows.set_fact_once("key_check", keys.check)
            known = rows.fact("key_check")
        if known is None or not secrets.compare_digest(known, keys.check):
            named = place if isinstance(place, Path) else "in the database of CHURN_DATABASE_URL"
            raise HomeError(
                f"The key is not the one that the identity vault {named} was made with.",
                mend="Set CHURN_VAULT_KEY to the vault's own key (or unset it, where the key is in "
                "vault/vault.key), or restore the key from its backup.",
                field="vault_key",
            )
        return cls(rows, keys)

    @property
    def row_salt(self) -> bytes:
        """32 secret bytes for hashing the keys of rows; the same for the whole life of the vault."""
        return self._keys.row_salt

    def pseudonymise(self, ids: Sequence[str]) -> list[str]:
        """The pseudonym of each id, in the order given; one is made where there is none yet.

        Numbers are handed out in order of first appearance, so that with the same key the same ids, loaded in
        the same order into a new vault, get the same pseudonyms. Each batch of new ids is durable as a whole.

        Raises:
            RecordError: an id is empty, not text, or not Unicode.
        """
        known = self._mapping(ids)
        return [known[customer_id] for customer_id in ids]

    def mapping(self, ids: Sequence[str]) -> list[tuple[str, str]]:
        """Each distinct id with its pseudonym, in order of first appearance; see :meth:`pseudonymise`."""
        return list(self._mapping(ids).items())

    def find(self, customer_id: str) -> str | None:
        """The pseudonym of an id, or ``None`` for one that the vault does not know. Makes nothing."""
        try:
            lookup = self._keys.lookup(customer_id)
        except UnicodeEncodeError:
            return None
        return self._rows.pseudonym(lookup)

    def reveal(self, pseudonyms: Sequence[str]) -> list[str | None]:
        """The id behind each pseudonym, in the order given; ``None`` where there is no such row (any more).

        Raises:
            RecordError: a row was altered: it does not open with the vault's key.
        """
        found: dict[str, str] = {}
        distinct = list(dict.fromkeys(pseudonyms))
        for lookup, pseudonym, sealed in self._rows.rows(distinct):
            found[pseudonym] = self._keys.unseal(sealed, lookup)
        return [found.get(pseudonym) for pseudonym in pseudonyms]

    def _mapping(self, ids: Sequence[str]) -> dict[str, str]:
        lookups = self._lookups(ids)
        known = self._stored(lookups)
        missing = [customer_id for customer_id in lookups if customer_id not in known]
        # Not all at once: other processes wait for the write lock meanwhile.
        for batch in batches(missing, _COMMIT):
            known |= self._create({customer_id: lookups[customer_id] for customer_id in batch})
        return {customer_id: known[customer_id] for customer_id in lookups}

    def _lookups(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Each distinct id with its lookup, in order of first appearance."""
        try:
            distinct = dict.fromkeys(ids)
            if "" in distinct:
                raise ValueError("empty")
            return {customer_id: self._keys.lookup(customer_id) for customer_id in distinct}
        except (AttributeError, TypeError, ValueError) as error:
            # The id itself is not repeated: errors are logged.
            raise RecordError(
                "A customer id is empty, not text, or not valid Unicode.",
                mend="Give non-empty strings; turn numbers into text and leave rows without an id out.",
                field="customer_id",
            ) from error

    def _stored(self, lookups: dict[str, bytes]) -> dict[str, str]:
        """The pseudonyms of those ids that are in the vault."""
        if not self._rows.any():
            return {}
        pseudonyms = self._rows.pseudonyms(list(lookups.values()))
        return {customer_id: pseudonyms[lookup] for customer_id, lookup in lookups.items() if lookup in pseudonyms}

    def _create(self, lookups: dict[str, bytes]) -> dict[str, str]:
        """Make pseudonyms for ids that were not there a moment ago."""
        nonces = os.urandom(_NONCE * len(lookups))
        sealed = {
            customer_id: self._keys.seal(customer_id, lookup, nonces[i * _NONCE : (i + 1) * _NONCE])
            for i, (customer_id, lookup) in enumerate(lookups.items())
        }
        with self._rows.writing():
            # Another process may have come first with some of them.
            made = self._stored(lookups)
            new = [customer_id for customer_id in lookups if customer_id not in made]
            number = int.from_bytes(self._rows.fact("next_number") or b"")
            pseudonyms, number = self._unused(len(new), number)
            made.update(zip(new, pseudonyms, strict=True))
            # In the order of the table's tree, which is quicker than an insertion here and there.
            rows: list[IdentityRow] = sorted(
                (lookups[customer_id], made[customer_id], sealed[customer_id]) for customer_id in new
            )
            self._rows.insert(rows)
            # Numbers are never handed out twice: an erased customer's pseudonym must not become another's.
            self._rows.set_fact("next_number", number.to_bytes(8))
        return made

    def _unused(self, count: int, number: int) -> tuple[list[str], int]:
        """The next pseudonyms that nobody has, and the number after them. 60 bits may meet."""
        unused: dict[str, None] = {}
        while len(unused) < count:
            end = number + min(count - len(unused), _BATCH)
            batch = [self._keys.pseudonym(n) for n in range(number, end)]
            number = end
            held = self._rows.held(batch)
            unused |= dict.fromkeys(pseudonym for pseudonym in batch if pseudonym not in held)
        return list(unused), number
