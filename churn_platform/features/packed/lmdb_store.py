"""The packed store of the embedded profile: one LMDB environment below the home.

The rows of a generation lie in one of two slots. ``meta`` holds the pointer, the generation's description, the
run that is building the next, and the dictionaries; ``journal`` holds which rows were pushed or removed while a
generation is built. A read is one transaction: LMDB gives it a snapshot, so that neither a flip of the pointer nor
the removal of an old generation can be seen in the middle of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from churn_platform.errors import HomeError
from churn_platform.features.packed.bulk import Item, encode, merge
from churn_platform.features.packed.environment import Environment, close, environment, reading
from churn_platform.features.packed.layout import (
    TIMES,
    Dictionary,
    Generation,
    Layout,
    Value,
    View,
    ViewSpec,
    key_of,
    pack,
)
from churn_platform.features.packed.store import (
    Committed,
    Reading,
    Row,
    empty,
    next_views,
    observe,
    other_layout,
    select,
    split,
    superseded,
)

if TYPE_CHECKING:
    import pyarrow as pa

_CURRENT: Final = b"current"
_GENERATION: Final = b"generation"
_BUILDING: Final = b"building"
_SEQUENCE: Final = b"sequence"
_CHUNK: Final = 100_000
_STAMP: Final = 8


class LmdbStore:
    """See :class:`churn_platform.features.packed.store.PackedStore`.

    Args:
        path: the folder; made by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[bytes, Generation] | None = None
        self._dictionaries: dict[bytes, tuple[bytes, Dictionary]] = {}

    # Reading

    def generation(self) -> Generation:
        db = self._reader()
        with reading(db) as txn:
            return self._current(db, txn)

    def read(self, customers: Sequence[str], views: Sequence[str] | None = None) -> Reading:
        db = self._reader()
        keys = [customer.encode() for customer in customers]
        with reading(db) as txn:
            generation = self._current(db, txn)
            chosen = select(generation, views)
            get, slot = txn.get, db[f"slot{generation.slot}"]
            records = []
            for view in chosen:
                prefix = view.index.to_bytes(2, "big")
                records.append([get(prefix + key, None, slot) if key else None for key in keys])
            departed = {}
            for i, key in enumerate(keys):
                if key and not any(column[i] is not None for column in records):
                    stamp = get(key, None, db[f"departed{generation.slot}"])
                    if stamp is not None:
                        departed[customers[i]] = int.from_bytes(stamp, "little", signed=True)
            dictionaries = {
                view.layout.digest: self._dictionary(db, txn, view.layout) for view in chosen if view.layout.categories
            }
        return Reading(generation, chosen, records, departed, dictionaries)

    def customers(self, limit: int) -> list[str]:
        db = self._reader()
        with reading(db) as txn:
            generation = self._current(db, txn)
            slot = db[f"slot{generation.slot}"]
            if not generation.views:
                return []
            view = generation.views[0]
            total = txn.stat(slot)["entries"] // len(generation.views)
            step = max(1, total // max(limit, 1))
            found = [key.decode() for i, (key, _) in enumerate(_rows(txn, slot, view)) if i % step == 0]
        return found[:limit]

    def size_bytes(self) -> int:
        file = self.path / "data.mdb"
        return file.stat().st_blocks * 512 if file.exists() else 0

    # Writing

    def declare(self, views: Mapping[str, ViewSpec], gone: Collection[str] = ()) -> None:
        with self._writing() as (db, txn):
            raw = txn.get(_GENERATION, db=db["meta"])
            current = Generation.from_bytes(raw) if raw else _first(db, txn)
            after = current.declared(views, gone)
            if raw is None or after is not current:
                self._point(db, txn, after)

    def push(self, view: str, layout: Layout, rows: Sequence[Row]) -> int:
        written = 0
        with self._writing() as (db, txn):
            generation = self._current(db, txn)
            found = generation.view(view)
            if found.layout != layout:
                raise other_layout(found, layout)
            slot, building = db[f"slot{generation.slot}"], txn.get(_BUILDING, db=db["meta"])
            prefix = found.index.to_bytes(2, "big")
            codes = _Codes(db, txn, layout)
            for customer, event, created, values in rows:
                key = key_of(customer)
                old = txn.get(prefix + key, db=slot)
                if old is not None and TIMES.unpack_from(old) > (event, created):
                    continue
                txn.put(prefix + key, pack(layout, event, created, codes.floats(values)), db=slot)
                written += 1
                if building is not None:
                    txn.put(view.encode() + b"\0" + key, b"", db=db["journal"])
            codes.save()
        return written

    def remove(self, customers: Sequence[str]) -> int:
        removed = 0
        with self._writing() as (db, txn):
            raw = txn.get(_GENERATION, db=db["meta"])
            if raw is None:
                return 0
            generation, building = Generation.from_bytes(raw), txn.get(_BUILDING, db=db["meta"])
            for key in map(key_of, customers):
                for view in generation.views:
                    removed += txn.delete(view.index.to_bytes(2, "big") + key, db=db[f"slot{generation.slot}"])
                if building is not None:
                    txn.put(b"\0" + key, b"", db=db["journal"])
                for slot in (0, 1):
                    txn.delete(key, db=db[f"departed{slot}"])
        return removed

    def begin(self, views: Mapping[str, ViewSpec]) -> LmdbBuilding:
        with self._writing() as (db, txn):
            db.env.reader_check()  # readers that were killed would keep old pages
            raw = txn.get(_GENERATION, db=db["meta"])
            current = Generation.from_bytes(raw) if raw else _first(db, txn)
            if raw is None:
                self._point(db, txn, current)
            number = _next(db, txn)
            made, carried = next_views(current, views)
            slot = 1 - current.slot
            for name in (f"slot{slot}", f"departed{slot}", "journal"):
                txn.drop(db[name], delete=False)
            txn.put(_BUILDING, str(number).encode(), db=db["meta"])
        return LmdbBuilding(self, Generation(number, 0, made, slot, current.epoch), carried)

    def clear(self) -> None:
        with self._writing() as (db, txn):
            for one in db.databases.values():
                txn.drop(one, delete=False)

    def close(self) -> None:
        """Close the environment of this process."""
        close(self.path)

    # Parts

    def _reader(self) -> Environment:
        db = environment(self.path, create=False)
        if db is None:
            raise empty()
        return db

    @contextmanager
    def _writing(self) -> Iterator[tuple[Environment, Any]]:
        import lmdb

        db = environment(self.path, create=True)
        assert db is not None  # noqa: S101 - it was made
        try:
            with db.env.begin(write=True) as txn:
                yield db, txn
        except (lmdb.MapFullError, lmdb.DiskError) as error:
            raise HomeError(
                f"The online store {self.path} is full: {error}.",
                mend="Make room on its disk; what was written before is whole.",
            ) from error

    def _current(self, db: Environment, txn: Any) -> Generation:
        pointer = txn.get(_CURRENT, None, db["meta"])
        if pointer is None:
            raise empty()
        seen = self._seen
        if seen is None or seen[0] != pointer:
            seen = self._seen = (pointer, Generation.from_bytes(txn.get(_GENERATION, db=db["meta"])))
        return seen[1]

    def _dictionary(self, db: Environment, txn: Any, layout: Layout) -> Dictionary:
        raw = txn.get(b"dictionary:" + layout.digest, b"{}", db["meta"])
        seen = self._dictionaries.get(layout.digest)
        if seen is None or seen[0] != raw:
            seen = self._dictionaries[layout.digest] = (raw, json.loads(raw))
        return seen[1]

    def _point(self, db: Environment, txn: Any, generation: Generation) -> None:
        txn.put(_GENERATION, generation.to_bytes(), db=db["meta"])
        txn.put(_CURRENT, generation.pointer.encode(), db=db["meta"])


def _next(db: Environment, txn: Any) -> int:
    """A number that no generation of this store has had."""
    number = int(txn.get(_SEQUENCE, b"0", db["meta"])) + 1
    txn.put(_SEQUENCE, str(number).encode(), db=db["meta"])
    return number


def _first(db: Environment, txn: Any) -> Generation:
    return Generation.first(_next(db, txn))


class LmdbBuilding:
    """See :class:`churn_platform.features.packed.store.Building`."""

    def __init__(self, store: LmdbStore, generation: Generation, carried: tuple[tuple[View, View], ...]) -> None:
        self._store, self._generation, self._carry = store, generation, carried
        self._customers = self._carried = 0
        self._departed: dict[bytes, int] = {}

    def load(self, view: str, table: pa.Table, *, key: str, event: str, created: str | None) -> int:
        found = self._generation.view(view)

        def codes(feature: str, texts: Sequence[str]) -> list[int]:
            with self._mine() as (db, txn):
                known = _Codes(db, txn, found.layout)
                numbers = [known.code(feature, text) for text in texts]
                known.save()
            return numbers

        table, left = split(table, key, event)
        block = encode(table, found.layout, key=key, event=event, created=created, codes=codes)
        items, departed, carried = merge(block, self._current_rows(view), found.layout)
        items = [one for one in items if one[0] not in left] if left else items
        self._write(found, items)
        self._departed |= {**dict(departed), **left}
        self._carried += carried
        self._customers = max(self._customers, len(items))
        self._generation = observe(self._generation, found, block.observed, self._before(view))
        return len(items)

    def commit(self) -> Committed:
        for old, new in self._carry:
            self._write(new, list(self._current_rows(old.name)))
        store = self._store
        with self._mine() as (db, txn):
            current = store._current(db, txn)
            slot, last = db[f"slot{self._generation.slot}"], db[f"slot{current.slot}"]
            touched = list(txn.cursor(db=db["journal"]).iternext(keys=True, values=False))
            for name, _, customer in (entry.partition(b"\0") for entry in touched):
                if not name:  # removed from every view
                    self._departed.pop(customer, None)
                    for new in self._generation.views:
                        txn.delete(new.index.to_bytes(2, "big") + customer, db=slot)
                for new in self._generation.views:
                    if name in (b"", new.name.encode()):
                        _settle(txn, current.by_name.get(new.name), last, new, slot, customer)
            departed = db[f"departed{self._generation.slot}"]
            for customer, stamp in txn.cursor(db=db[f"departed{current.slot}"]):
                txn.put(customer, stamp, db=departed)
            for customer, moment in self._departed.items():
                txn.put(customer, moment.to_bytes(_STAMP, "little", signed=True), db=departed)
            store._point(db, txn, self._generation)
            txn.delete(_BUILDING, db=db["meta"])
            txn.drop(db["journal"], delete=False)
        with store._writing() as (db, txn):  # a reader's snapshot keeps its pages until it ends
            if txn.get(_BUILDING, db=db["meta"]) is None:
                for name in (f"slot{current.slot}", f"departed{current.slot}"):
                    txn.drop(db[name], delete=False)
        return Committed(self._generation.number, self._customers, self._carried, len(self._departed))

    def abort(self) -> None:
        with self._store._writing() as (db, txn):
            if txn.get(_BUILDING, db=db["meta"]) == str(self._generation.number).encode():
                for name in (f"slot{self._generation.slot}", f"departed{self._generation.slot}", "journal"):
                    txn.drop(db[name], delete=False)
                txn.delete(_BUILDING, db=db["meta"])

    @contextmanager
    def _mine(self) -> Iterator[tuple[Environment, Any]]:
        with self._store._writing() as (db, txn):
            if txn.get(_BUILDING, db=db["meta"]) != str(self._generation.number).encode():
                raise superseded()
            yield db, txn

    def _before(self, view: str) -> int | None:
        old = self._store.generation().by_name.get(view)
        return old.observed if old else None

    def _current_rows(self, view: str) -> Iterator[Item]:
        db = self._store._reader()
        with reading(db) as txn:
            current = self._store._current(db, txn)
            old = current.by_name.get(view)
            if old is not None:
                yield from _rows(txn, db[f"slot{current.slot}"], old)

    def _write(self, view: View, items: list[Item]) -> None:
        prefix = view.index.to_bytes(2, "big")
        for start in range(0, len(items), _CHUNK):
            chunk = [(prefix + key, record) for key, record in items[start : start + _CHUNK]]
            with self._mine() as (db, txn):
                txn.cursor(db=db[f"slot{self._generation.slot}"]).putmulti(chunk)


class _Codes:
    """The dictionary of a layout inside a write transaction."""

    def __init__(self, db: Environment, txn: Any, layout: Layout) -> None:
        self._db, self._txn, self._layout = db, txn, layout
        self._key = b"dictionary:" + layout.digest
        self._texts: dict[str, list[str]] = json.loads(txn.get(self._key, b"{}", db["meta"]))
        self._codes = {name: {text: i for i, text in enumerate(texts)} for name, texts in self._texts.items()}
        self._changed = False

    def code(self, feature: str, text: str) -> int:
        known = self._codes.setdefault(feature, {})
        if text not in known:
            known[text] = len(known)
            self._texts.setdefault(feature, []).append(text)
            self._changed = True
        return known[text]

    def floats(self, values: Sequence[Value]) -> list[float | None]:
        return [
            self.code(column.name, value) if isinstance(value, str) else value
            for column, value in zip(self._layout.columns, values, strict=True)
        ]

    def save(self) -> None:
        if self._changed:
            self._txn.put(self._key, json.dumps(self._texts).encode(), db=self._db["meta"])


def _rows(txn: Any, slot: Any, view: View) -> Iterator[Item]:
    """Key and record of every row of a view."""
    prefix = view.index.to_bytes(2, "big")
    cursor = txn.cursor(db=slot)
    if cursor.set_range(prefix):
        for key, record in cursor.iternext(keys=True, values=True):
            if key[:2] != prefix:
                return
            yield key[2:], record


def _settle(txn: Any, old: View | None, last: Any, new: View, slot: Any, customer: bytes) -> None:
    """Bring one row that was pushed or removed meanwhile into the next generation."""
    record = txn.get(old.index.to_bytes(2, "big") + customer, db=last) if old else None
    key = new.index.to_bytes(2, "big") + customer
    if record is None:
        txn.delete(key, db=slot)
    elif record[16:24] == new.layout.digest:
        there = txn.get(key, db=slot)
        if there is None or TIMES.unpack_from(record) >= TIMES.unpack_from(there):
            txn.put(key, record, db=slot)
