"""Features: point-in-time assembly; the online stores through Feast's API and over HTTP, materialization, push."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import features_online, features_pit
from benchmarks.harness import Bench, Figure


def run(bench: Bench) -> Iterator[Figure]:
    yield from features_pit.figures(bench)
    yield from features_online.figures(bench)
