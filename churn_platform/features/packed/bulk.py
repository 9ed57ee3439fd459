"""Pack a whole Arrow table at once: no Python object per value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from churn_platform.errors import FeatureError
from churn_platform.features.packed.layout import MAX_KEY, TIMES, Layout

if TYPE_CHECKING:
    import pyarrow as pa

Codes: TypeAlias = Callable[[str, Sequence[str]], Sequence[int]]
"""Category feature and texts → their codes; texts that are new get one."""
Item: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True)
class Block:
    """Packed rows, one for each customer, in the order of their keys.

    Attributes:
        keys: customers.
        records: n × record size, uint8.
        events, created: µs.
    """

    keys: list[bytes]
    records: NDArray[np.uint8]
    events: NDArray[np.int64]
    created: NDArray[np.int64]

    @property
    def observed(self) -> int | None:
        """The newest event time; None without rows."""
        return int(self.events.max()) if len(self.events) else None

    def items(self) -> list[Item]:
        """Key and record of each row."""
        size = self.records.shape[1]
        raw = self.records.tobytes()
        return [(key, raw[i * size : (i + 1) * size]) for i, key in enumerate(self.keys)]


def encode(table: pa.Table, layout: Layout, *, key: str, event: str, created: str | None, codes: Codes) -> Block:
    """Pack the rows of a table.

    Args:
        table: has the columns ``key`` (text), ``event`` (timestamp, naive is UTC), ``created`` and the layout's.
            Of several rows of one customer the newest is kept, by event time, then creation time.
        created: None: the event time counts.

    Raises:
        FeatureError: a column is missing or has another type, a key is null, empty or too long.
    """
    import pyarrow as pa

    missing = [name for name in (key, event, *layout.names) if name not in table.column_names]
    if missing:
        raise FeatureError(
            f"The table to materialize has no column {missing[0]!r}.",
            mend="Materialize customer_features for this month with the current catalogue.",
            field=missing[0],
        )
    ids = table[key].combine_chunks()
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)) or ids.null_count:
        raise FeatureError(
            f"{key} is {ids.type} with {ids.null_count} nulls; customers have an id of text.",
            mend="Materialize customer_features again.",
            field=key,
        )
    events = _micros(table[event], event)
    made = _micros(table[created], created) if created and created in table.column_names else events
    names: list[bytes] = ids.cast(pa.binary()).to_pylist()
    order, keys = _newest(names, events, made)
    if keys and (not keys[0] or max(map(len, keys)) > MAX_KEY):
        raise FeatureError(
            f"{key} has an id that is empty or longer than {MAX_KEY} bytes.", mend="Mend the ids.", field=key
        )
    head = [("event", "<i8"), ("created", "<i8"), ("digest", "V8")]
    packed = np.zeros(len(order), np.dtype([*head, ("values", "<f8", (len(layout.columns),))]))
    packed["event"], packed["created"] = events[order], made[order]
    packed["digest"] = np.void(layout.digest)
    for i, column in enumerate(layout.columns):
        values = table[column.name].combine_chunks()
        if column.kind == "category":
            values = _coded(values, column.name, codes)
        elif not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            if not (pa.types.is_null(values.type) or pa.types.is_boolean(values.type)):
                raise _wrong_type(column.name, values.type, "a number")
            values = values.cast(pa.float64() if pa.types.is_null(values.type) else pa.uint8())
        elif pa.types.is_integer(values.type):
            _exact(values, column.name)
        packed["values"][:, i] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)[order]
    records = packed.view(np.uint8).reshape(len(order), layout.record.size)
    return Block(keys, records, packed["event"].copy(), packed["created"].copy())


def merge(block: Block, current: Iterable[Item], layout: Layout) -> tuple[list[Item], list[tuple[bytes, int]], int]:
    """What the next generation of a view holds: the block's rows, unless the current one has newer ones.

    Args:
        current: key and record of every row of the current generation.

    Returns:
        Items in the order of their keys; customers (with their last event time) who are not among the block's and
        have no newer row: they have departed; and how many of the items were carried over.
    """
    items = block.items()
    position = {key: i for i, key in enumerate(block.keys)}
    events, created = block.events.tolist(), block.created.tolist()
    observed = block.observed
    kept: list[Item] = []
    departed: list[tuple[bytes, int]] = []
    carried = 0
    for key, record in current:
        event, made = TIMES.unpack_from(record)
        i = position.get(key)
        if i is None:
            if observed is None or event > observed:
                if record[16:24] == layout.digest:
                    kept.append((key, record))
            else:
                departed.append((key, event))
        elif (event, made) > (events[i], created[i]) and record[16:24] == layout.digest:
            items[i] = (key, record)
            carried += 1
    if kept:
        items = sorted(items + kept)
    return items, departed, carried + len(kept)


def _newest(
    names: list[bytes], events: NDArray[np.int64], made: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[bytes]]:
    """Positions of each customer's newest row, in the order of the keys; of equal times the later row."""
    order = sorted(range(len(names)), key=names.__getitem__)
    keys = [names[i] for i in order]
    if any(a == b for a, b in itertools.pairwise(keys)):
        stamps = list(zip(events.tolist(), made.tolist(), strict=True))
        best: dict[bytes, int] = {}
        for i, name in enumerate(names):
            if name not in best or stamps[i] >= stamps[best[name]]:
                best[name] = i
        keys = sorted(best)
        order = [best[name] for name in keys]
    return np.asarray(order, np.int64), keys


def _micros(column: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type) or column.null_count:
        raise FeatureError(
            f"{name} is {column.type} with {column.null_count} nulls; every row has a time.",
            mend="Materialize customer_features again.",
            field=name,
        )
    moments = column.combine_chunks().cast(pa.timestamp("us", column.type.tz), safe=False)
    found: NDArray[np.int64] = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _coded(values: Any, name: str, codes: Codes) -> Any:
    import pyarrow as pa

    if pa.types.is_null(values.type):
        return values.cast(pa.float64())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise _wrong_type(name, values.type, "text")
    encoded = values.dictionary_encode()
    texts: list[str] = encoded.dictionary.to_pylist()
    table = pa.array(list(codes(name, texts)), pa.float64())
    return table.take(encoded.indices) if texts else pa.nulls(len(values), pa.float64())


def _wrong_type(name: str, kind: Any, wanted: str) -> FeatureError:
    return FeatureError(
        f"{name} is {kind} in the table to materialize, but {wanted} in its view.",
        mend="Materialize customer_features for this month with the current catalogue.",
        field=name,
    )


def _exact(values: Any, name: str) -> None:
    import pyarrow.compute as pc

    if pc.any(pc.greater(pc.abs(values), 2**53)).as_py():
        raise FeatureError(
            f"{name} has whole numbers above 2^53, which a float64 does not hold exactly.",
            mend="Make it a category or a smaller unit.",
            field=name,
        )
