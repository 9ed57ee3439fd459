"""Text ids as companies write them: unique, not sequential, and rare enough to be found by grep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.streams import Stream, stream

ALPHABET = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", dtype="S1")  # Crockford's base32
_LENGTH = 9
_BITS = 5 * _LENGTH
_MASK = np.uint64((1 << _BITS) - 1)


def make_ids(prefix: str, numbers: NDArray[np.integer[Any]], seed: int) -> NDArray[np.bytes_]:
    """Ids such as ``ACME-7F3K9Q2M1`` for ``numbers`` in [0, 2^45): distinct numbers give distinct ids.

    The mixing is a bijection on 45 bits (odd multiplications and xor-shifts with keys from the seed).
    """
    keys = stream(seed, Stream.IDS, part=int.from_bytes(prefix.encode(), "big") % (1 << 31)).integers(
        1, 1 << _BITS, size=3, dtype=np.uint64
    )
    value = (numbers.astype(np.uint64) ^ keys[0]) & _MASK
    for key in keys[1:]:
        value = (value * (key | np.uint64(1))) & _MASK
        value ^= value >> np.uint64(_BITS // 2)
    value = (value * (keys[0] | np.uint64(1))) & _MASK
    head = prefix.encode() + b"-"
    out = np.empty((len(value), len(head) + _LENGTH), dtype="S1")
    out[:, : len(head)] = np.frombuffer(head, dtype="S1")
    for place in range(_LENGTH):
        shift = np.uint64(5 * (_LENGTH - 1 - place))
        out[:, len(head) + place] = ALPHABET[((value >> shift) & np.uint64(31)).astype(np.intp)]
    return out.view(f"S{len(head) + _LENGTH}").ravel()
