"""The identity vault: the only way from a company's customer ids to pseudonyms and back.

What the database holds of a customer is ``HMAC-SHA256(id)`` to find the row by, the pseudonym, and the id
itself under AES-256-GCM. Without the key, which never is in the database, none of it says who that is. A
pseudonym is made from the vault's key and a number that is used once, not from the id: when the row is gone,
nothing links the two.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

from churn_platform.errors import HomeError, RecordError
from churn_platform.records import vault_keys
from churn_platform.records.home import Home
from churn_platform.records.sql import connect_sqlite, open_database

_BATCH: Final = 10_000
_COMMIT: Final = 100_000
_NONCE: Final = 12
_Item = TypeVar("_Item")


class IdentityVault:
    """Pseudonyms of customers. Safe to use from several processes, threads, and forked children at once.

    Args:
        path: the SQLite file, migrated to head.
        keys: the keys derived from the vault's key.
    """

    def __init__(self, path: Path, keys: vault_keys.VaultKeys) -> None:
        self._path = path
        self._keys = keys
        self._local = threading.local()

    @classmethod
    def open(cls, home: Home) -> Self:
        """Open the vault of a home, making it (and, in the embedded profile, its key) where there is none.

        Raises:
            ConfigurationError: ``CHURN_VAULT_KEY`` is not base64 of 32 bytes.
            HomeError: the key is missing, unreadable, or not the one that this vault was made with.
        """
        path = home.vault / "vault.db"
        open_database(path, migrations="vault").dispose()
        path.chmod(0o600)
        connection = connect_sqlite(path)
        try:
            known = _fact(connection, "key_check")
            keys = vault_keys.VaultKeys.derive(vault_keys.load(home.vault / "vault.key", may_create=known is None))
            if known is None:
                connection.execute(
                    "INSERT INTO fact (name, value) VALUES ('key_check', ?) ON CONFLICT DO NOTHING",
                    (keys.check,),
                )
                known = _fact(connection, "key_check")
        finally:
            connection.close()
        if known is None or not secrets.compare_digest(known, keys.check):
            raise HomeError(
                f"The key is not the one that the identity vault {path} was made with.",
                mend="Set CHURN_VAULT_KEY to the vault's own key (or unset it, where the key is in "
                "vault/vault.key), or restore the key from its backup.",
                field="vault_key",
            )
        return cls(path, keys)

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
        row = self._connection.execute("SELECT pseudonym FROM identity WHERE lookup = ?", (lookup,)).fetchone()
        return row[0] if row else None

    def reveal(self, pseudonyms: Sequence[str]) -> list[str | None]:
        """The id behind each pseudonym, in the order given; ``None`` where there is no such row (any more).

        Raises:
            RecordError: a row was altered: it does not open with the vault's key.
        """
        found: dict[str, str] = {}
        distinct = list(dict.fromkeys(pseudonyms))
        for batch in _batches(distinct):
            marks = ",".join("?" * len(batch))
            rows = self._connection.execute(
                f"SELECT pseudonym, lookup, sealed FROM identity WHERE pseudonym IN ({marks})", batch
            )
            for pseudonym, lookup, sealed in rows:
                found[pseudonym] = self._keys.unseal(sealed, lookup)
        return [found.get(pseudonym) for pseudonym in pseudonyms]

    def _mapping(self, ids: Sequence[str]) -> dict[str, str]:
        lookups = self._lookups(ids)
        known = self._stored(lookups)
        missing = [customer_id for customer_id in lookups if customer_id not in known]
        # Not all at once: other processes wait for the write lock meanwhile.
        for batch in _batches(missing, _COMMIT):
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
        if not self._connection.execute("SELECT EXISTS (SELECT 1 FROM identity)").fetchone()[0]:
            return {}
        pseudonyms: dict[bytes, str] = {}
        for batch in _batches(list(lookups.values())):
            marks = ",".join("?" * len(batch))
            pseudonyms.update(
                self._connection.execute(f"SELECT lookup, pseudonym FROM identity WHERE lookup IN ({marks})", batch)
            )
        return {customer_id: pseudonyms[lookup] for customer_id, lookup in lookups.items() if lookup in pseudonyms}

    def _create(self, lookups: dict[str, bytes]) -> dict[str, str]:
        """Make pseudonyms for ids that were not there a moment ago."""
        nonces = os.urandom(_NONCE * len(lookups))
        sealed = {
            customer_id: self._keys.seal(customer_id, lookup, nonces[i * _NONCE : (i + 1) * _NONCE])
            for i, (customer_id, lookup) in enumerate(lookups.items())
        }
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have come first with some of them.
            made = self._stored(lookups)
            new = [customer_id for customer_id in lookups if customer_id not in made]
            number = int.from_bytes(_fact(connection, "next_number") or b"")
            pseudonyms, number = self._unused(len(new), number)
            made.update(zip(new, pseudonyms, strict=True))
            # In the order of the table's tree, which is quicker than an insertion here and there.
            rows = sorted((lookups[customer_id], made[customer_id], sealed[customer_id]) for customer_id in new)
            connection.executemany("INSERT INTO identity (lookup, pseudonym, sealed) VALUES (?, ?, ?)", rows)
            # Numbers are never handed out twice: an erased customer's pseudonym must not become another's.
            connection.execute(
                "INSERT INTO fact (name, value) VALUES ('next_number', ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (number.to_bytes(8),),
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return made

    def _unused(self, count: int, number: int) -> tuple[list[str], int]:
        """The next pseudonyms that nobody has, and the number after them. 60 bits may meet."""
        unused: dict[str, None] = {}
        while len(unused) < count:
            end = number + min(count - len(unused), _BATCH)
            batch = [self._keys.pseudonym(n) for n in range(number, end)]
            number = end
            marks = ",".join("?" * len(batch))
            held = {
                row[0]
                for row in self._connection.execute(
                    f"SELECT pseudonym FROM identity WHERE pseudonym IN ({marks})", batch
                )
            }
            unused |= dict.fromkeys(pseudonym for pseudonym in batch if pseudonym not in held)
        return list(unused), number

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's connection. A forked child opens its own: SQLite's locks do not survive a fork."""
        if getattr(self._local, "process", None) != os.getpid():
            # A connection from before the fork is kept, not closed: closing it could disturb the parent's.
            self._local.inherited = getattr(self._local, "connection", None)
            self._local.connection = connect_sqlite(self._path)
            self._local.process = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection


def _fact(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _batches(items: list[_Item], size: int = _BATCH) -> Iterator[list[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
