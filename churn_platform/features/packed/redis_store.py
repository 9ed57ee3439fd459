"""The packed store of the production profile: Redis 6.2 or newer (or a server that speaks like it), one node.

``current`` is the pointer; ``documents`` describes generations; a view of a generation is one hash (customer →
record), so that a generation is removed with a handful of commands. A read is one pipelined MULTI: the pointer and
the rows that the reader expects under it; where the pointer has moved, it reads again. So no old generation is ever
read once the pointer has left it, and the seconds of grace are for readers that page through one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from churn_platform.errors import ArtifactCorruptError, MissingDependencyError, NotReadyError
from churn_platform.features.packed import redis_scripts
from churn_platform.features.packed.bulk import Item, encode, merge
from churn_platform.features.packed.layout import (
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

T = TypeVar("T")

GRACE_SECONDS: Final = 1.0
_FIELDS: Final = 500
_COMMANDS: Final = 20
_ATTEMPTS: Final = 50


class RedisStore:
    """See :class:`churn_platform.features.packed.store.PackedStore`.

    Args:
        url: ``redis://…`` or ``rediss://…``; it may hold a password and is never repeated in a message.
        namespace: the problem; several problems share one server.
        grace: seconds for which the old generation stays after the pointer has moved.
    """

    def __init__(self, url: str, namespace: str, *, grace: float = GRACE_SECONDS) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingDependencyError("The package redis is not installed.", mend="Run `make setup`.") from error
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=30, socket_connect_timeout=5, health_check_interval=30
        )
        self._errors = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
        self._prefix = f"{{churn:{namespace}}}:"
        self._grace = grace
        self._seen: Generation | None = None
        self._dictionaries: dict[str, tuple[int, Dictionary]] = {}
        client = self._redis
        self._push = client.register_script(redis_scripts.PUSH)
        self._remove = client.register_script(redis_scripts.REMOVE)
        self._codes = client.register_script(redis_scripts.CODES)
        self._commit = client.register_script(redis_scripts.COMMIT)

    # Reading

    def generation(self) -> Generation:
        with self._reached():
            return self._current()

    def read(self, customers: Sequence[str], views: Sequence[str] | None = None) -> Reading:
        keys = [customer.encode() or b"\0" for customer in customers]
        with self._reached():
            generation = self._seen or self._current()
            for _ in range(_ATTEMPTS):
                chosen = select(generation, views)
                found = self._read(generation, chosen, keys)
                if found is not None:
                    break
                generation = self._current()
            else:
                raise _moving()
            records, tombstones, sizes = found
            departed = {
                customers[i]: int(stamp)
                for i, stamp in enumerate(tombstones)
                if stamp is not None and not any(column[i] is not None for column in records)
            }
            dictionaries = {
                view.layout.digest: self._dictionary(name, sizes[name])
                for view in chosen
                if (name := _dictionary_name(generation, view.layout)) in sizes
            }
        return Reading(generation, chosen, records, departed, dictionaries)

    def _read(
        self, generation: Generation, views: tuple[View, ...], keys: list[bytes]
    ) -> tuple[list[list[bytes | None]], list[bytes | None], dict[str, int]] | None:
        """Rows, tombstones and sizes of dictionaries in one round trip; None where the pointer has moved."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.get(self._key("current"))
        if keys:
            for view in views:
                pipe.hmget(self._rows(generation.number, view.index), keys)
            pipe.hmget(self._key("departed", generation.number), keys)
        coded = [_dictionary_name(generation, view.layout) for view in views if view.layout.categories]
        for name in coded:
            pipe.hlen(self._key("codes", name))
        pointer, *answers = pipe.execute()
        if pointer != generation.pointer.encode():
            return None
        records = answers[: len(views)] if keys else [[] for _ in views]
        tombstones = answers[len(views)] if keys else []
        return records, tombstones, dict(zip(coded, answers[len(answers) - len(coded) :], strict=True))

    def customers(self, limit: int) -> list[str]:
        with self._reached():
            generation = self._current()
            if not generation.views or limit < 1:
                return []
            rows = self._rows(generation.number, generation.views[0].index)
            return sorted(key.decode() for key in self._redis.hrandfield(rows, limit))

    def size_bytes(self) -> int:
        with self._reached():
            keys = self._redis.scan_iter(match=self._prefix.replace("{", "[{]") + "*", count=1000)
            return sum(int(self._redis.memory_usage(key, samples=100) or 0) for key in keys)

    # Writing

    def declare(self, views: Mapping[str, ViewSpec], gone: Collection[str] = ()) -> None:
        with self._reached():
            self._alter(lambda current: current.declared(views, gone))

    def push(self, view: str, layout: Layout, rows: Sequence[Row]) -> int:
        with self._reached():
            for _ in range(_ATTEMPTS):
                generation = self._current()
                found = generation.view(view)
                if found.layout != layout:
                    raise other_layout(found, layout)
                arguments: list[Any] = [self._prefix, generation.pointer, view, found.index]
                for customer, event, created, values in rows:
                    arguments += [
                        key_of(customer),
                        pack(layout, event, created, self._floats(generation, layout, values)),
                    ]
                written = self._push(keys=[self._key("current"), self._key("building")], args=arguments)
                if written >= 0:
                    return int(written)
                self._seen = None
            raise _moving()

    def remove(self, customers: Sequence[str]) -> int:
        removed, keys = 0, [key_of(customer) for customer in customers]
        with self._reached():
            for start in range(0, len(keys), 1000):
                for _ in range(_ATTEMPTS):
                    generation = self._current()
                    indices = [view.index for view in generation.views]
                    arguments: list[Any] = [self._prefix, generation.pointer, len(indices), *indices]
                    arguments += keys[start : start + 1000]
                    done = self._remove(keys=[self._key("current"), self._key("building")], args=arguments)
                    if done >= 0:
                        break
                else:
                    raise _moving()
                removed += done
        return removed

    def begin(self, views: Mapping[str, ViewSpec]) -> RedisBuilding:
        with self._reached():
            current = self._alter(lambda there: there)
            made, carried = next_views(current, views)
            number = int(self._redis.incr(self._key("sequence")))
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self._key("made"), str(number), len(made))
            pipe.set(self._key("building"), number)
            pipe.execute()
            self._sweep()
        return RedisBuilding(self, Generation(number, 0, made, 0, current.epoch), carried)

    def clear(self) -> None:
        with self._reached():
            keys = list(self._redis.scan_iter(match=self._prefix.replace("{", "[{]") + "*", count=1000))
            if keys:
                self._redis.unlink(*keys)
        self._seen = None

    def close(self) -> None:
        """Close the connections of this process."""
        self._redis.close()

    # Parts

    def _key(self, *parts: object) -> str:
        return self._prefix + ":".join(str(part) for part in parts)

    def _rows(self, number: int, index: int) -> str:
        return f"{self._prefix}rows:{number}:{index}"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            # the library's message names host and port, which are nobody's business who asks for a customer
            raise NotReadyError(
                f"The online store on Redis does not answer ({type(error).__name__}).",
                mend="See that the server runs and CHURN_REDIS_URL names it.",
            ) from None

    def _current(self) -> Generation:
        pointer = self._redis.get(self._key("current"))
        if pointer is None:
            raise empty()
        if self._seen is None or self._seen.pointer.encode() != pointer:
            document = self._redis.hget(self._key("documents"), pointer)
            if document is None:
                raise ArtifactCorruptError(
                    "The online store on Redis has lost the description of its generation.",
                    mend="Empty it and materialize online_features again.",
                )
            self._seen = Generation.from_bytes(document)
        return self._seen

    def _alter(self, change: Callable[[Generation], Generation]) -> Generation:
        """Change the description of the current generation, whoever else does so."""
        pointer = self._key("current")

        def attempt(pipe: Any) -> Generation:
            raw = pipe.get(pointer)
            if raw is None:
                number = int(pipe.incr(self._key("sequence")))
                before = Generation.first(number)
            else:
                before = Generation.from_bytes(pipe.hget(self._key("documents"), raw))
            after = change(before)
            pipe.multi()
            if raw is None or after is not before:
                pipe.hset(self._key("documents"), after.pointer, after.to_bytes())
                pipe.hset(self._key("made"), str(after.number), len(after.views))
                pipe.set(pointer, after.pointer)
            return after

        altered: Generation = self._redis.transaction(attempt, pointer, value_from_callable=True)
        return altered

    def _floats(self, generation: Generation, layout: Layout, values: Sequence[Value]) -> list[float | None]:
        name = _dictionary_name(generation, layout)
        return [
            self._code(name, column.name, value) if isinstance(value, str) else value
            for column, value in zip(layout.columns, values, strict=True)
        ]

    def _code(self, name: str, feature: str, text: str) -> int:
        known = self._dictionaries.get(name, (0, {}))[1].get(feature, ())
        return list(known).index(text) if text in known else self._assign(name, feature, [text])[0]

    def _assign(self, name: str, feature: str, texts: Sequence[str]) -> list[int]:
        """Codes of texts; written before any row that has them."""
        if not texts:
            return []
        return [int(code) for code in self._codes(keys=[self._key("codes", name)], args=[feature, *texts])]

    def _dictionary(self, name: str, size: int) -> Dictionary:
        seen = self._dictionaries.get(name)
        if seen is None or seen[0] != size:
            raw = self._redis.hgetall(self._key("codes", name))
            texts: dict[str, dict[int, str]] = {}
            for field, code in raw.items():
                feature, mark, text = field.partition(b"\0")
                if mark:
                    texts.setdefault(feature.decode(), {})[int(code)] = text.decode()
            seen = (size, {feature: [known[i] for i in range(len(known))] for feature, known in texts.items()})
            self._dictionaries[name] = seen
        return seen[1]

    def _scan(self, number: int, view: View) -> Iterator[Item]:
        yield from self._redis.hscan_iter(self._rows(number, view.index), count=5000)

    def _sweep(self) -> None:
        """Remove generations that nobody reads: retired ones after their grace, and what killed runs have left."""
        made, retired, pointer, building, now = (
            self._redis.hgetall(self._key("made")),
            dict(self._redis.zrange(self._key("retired"), 0, -1, withscores=True)),
            self._redis.get(self._key("current")),
            self._redis.get(self._key("building")),
            sum(part * scale for part, scale in zip(self._redis.time(), (1.0, 1e-6), strict=True)),
        )
        current = pointer.partition(b".")[0] if pointer else None
        for number, views in made.items():
            if number not in (current, building) and retired.get(number, 0) <= now:
                self._forget(int(number), int(views))

    def _forget(self, number: int, views: int) -> None:
        pipe = self._redis.pipeline(transaction=True)
        rows = [self._rows(number, index) for index in range(1, views + 1)]
        pipe.unlink(*rows, self._key("departed", number), self._key("journal", number))
        pipe.zrem(self._key("retired"), number)
        pipe.hdel(self._key("made"), str(number))
        documents = [f for f in self._redis.hkeys(self._key("documents")) if f.startswith(f"{number}.".encode())]
        if documents:
            pipe.hdel(self._key("documents"), *documents)
        pipe.execute()


class RedisBuilding:
    """See :class:`churn_platform.features.packed.store.Building`."""

    def __init__(self, store: RedisStore, generation: Generation, carried: tuple[tuple[View, View], ...]) -> None:
        self._store, self._generation, self._carry = store, generation, carried
        self._customers = self._carried = 0
        self._departed: dict[bytes, int] = {}

    def load(self, view: str, table: pa.Table, *, key: str, event: str, created: str | None) -> int:
        found, store = self._generation.view(view), self._store
        dictionary = _dictionary_name(self._generation, found.layout)
        table, left = split(table, key, event)
        with store._reached():
            block = encode(
                table,
                found.layout,
                key=key,
                event=event,
                created=created,
                codes=lambda feature, texts: store._assign(dictionary, feature, texts),
            )
            current = store._current()
            old = current.by_name.get(view)
            items, departed, carried = merge(block, store._scan(current.number, old) if old else (), found.layout)
            items = [one for one in items if one[0] not in left] if left else items
            self._write(store._rows(self._generation.number, found.index), items)
        self._departed |= {**dict(departed), **left}
        self._carried += carried
        self._customers = max(self._customers, len(items))
        self._generation = observe(self._generation, found, block.observed, old.observed if old else None)
        return len(items)

    def commit(self) -> Committed:
        store, number = self._store, self._generation.number
        with store._reached():
            current = store._current()
            for old, new in self._carry:
                self._write(store._rows(number, new.index), list(store._scan(current.number, old)))
            departed = store._key("departed", number)
            self._write(departed, list(store._redis.hscan_iter(store._key("departed", current.number), count=5000)))
            self._write(departed, [(customer, str(moment).encode()) for customer, moment in self._departed.items()])
            for _ in range(_ATTEMPTS):
                current = store._current()
                arguments: list[Any] = [store._prefix, current.pointer, number, self._generation.pointer]
                arguments += [self._generation.to_bytes(), store._grace]
                for view in self._generation.views:
                    before = current.by_name.get(view.name)
                    arguments += [view.name, before.index if before else "", view.index, view.layout.digest]
                done = store._commit(keys=[store._key("current"), store._key("building")], args=arguments)
                if done == 1:
                    break
                if done == 0:
                    raise superseded()
            else:
                raise _moving()
            time.sleep(store._grace)
            store._sweep()
        return Committed(number, self._customers, self._carried, len(self._departed))

    def abort(self) -> None:
        store, number = self._store, self._generation.number
        with store._reached():
            if store._redis.get(store._key("building")) == str(number).encode():
                store._redis.delete(store._key("building"))
            store._forget(number, len(self._generation.views))

    def _write(self, name: str, items: Sequence[Item]) -> None:
        """Fields of a hash, in pipelines of whole commands; ends as soon as another run has begun."""
        store = self._store
        mine = str(self._generation.number).encode()
        for start in range(0, len(items), _FIELDS * _COMMANDS):
            pipe = store._redis.pipeline(transaction=False)
            pipe.get(store._key("building"))
            for first in range(start, min(start + _FIELDS * _COMMANDS, len(items)), _FIELDS):
                flat = [part for item in items[first : first + _FIELDS] for part in item]
                pipe.execute_command("HSET", name, *flat)
            if pipe.execute()[0] != mine:
                raise superseded()


def _dictionary_name(generation: Generation, layout: Layout) -> str:
    return f"{generation.epoch}:{layout.digest.hex()}"


def _moving() -> NotReadyError:
    return NotReadyError("The online store is being replaced again and again.", mend="Try again in a moment.")
