"""A way for the steps of an in-process run to say how far they are, to whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Event = Literal["begin", "update", "end", "fail"]
Listener = Callable[[Event, str, str, float | None], None]

# The steps of an in-process run execute on the thread of the command, so one plain slot is enough.
_listener: list[Listener] = []


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call ``listener(event, asset, text, share)`` for each step that runs inside the block."""
    _listener.append(listener)
    try:
        yield
    finally:
        _listener.remove(listener)


def tell(event: Event, asset: str, text: str = "", share: float | None = None) -> None:
    """Pass an event on, if anyone listens."""
    for listener in _listener:
        listener(event, asset, text, share)
