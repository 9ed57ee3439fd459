"""Features: the online stores through Feast's API and over HTTP, materialization, push; point-in-time assembly."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from benchmarks.harness import Bench, Figure


def run(bench: Bench) -> Iterator[Figure]:
    if importlib.util.find_spec("benchmarks.features_pit") is not None:
        from benchmarks import features_pit

        yield from features_pit.figures(bench)
    from benchmarks.features_online import figures

    yield from figures(bench)
