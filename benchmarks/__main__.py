"""``python -m benchmarks [NAME…] [--json] [--list] [--check]``: every figure we claim.

A benchmark is a module of this package with a function ``run(bench: Bench) -> Iterable[Figure]``.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.harness import Bench, Figure

NOT_BENCHMARKS = {"__init__", "__main__", "harness"}


def available() -> dict[str, str]:
    """Name → first line of the docstring, without importing the modules."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in NOT_BENCHMARKS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found


def main(arguments: list[str] | None = None) -> int:
    """0 when everything was measured (with ``--check``: and no goal was missed), 2 for an unknown name."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the platform claims.",
        epilog="example: python -m benchmarks simulator --json",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args(arguments)
    known = available()
    if options.list:
        for name, about in known.items():
            print(f"{name:20} {about}")
        return 0
    if unknown := [name for name in options.names if name not in known]:
        print(f"There is no benchmark {unknown[0]!r}. Use one of: {', '.join(known)}.", file=sys.stderr)
        return 2
    missed = False
    for name in options.names or known:
        run: Callable[[Bench], Iterable[Figure]] = importlib.import_module(f"benchmarks.{name}").run
        for figure in run(Bench(name)):
            print(figure.to_json() if options.json else figure.to_text(), flush=True)
            missed |= figure.held is False
    return int(missed and options.check)


if __name__ == "__main__":
    sys.exit(main())
