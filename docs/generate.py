"""The parts of the reference that are written from the code.

``python docs/generate.py`` rewrites the blocks between ``<!-- generated: NAME -->`` and ``<!-- end -->``;
tests/test_docs.py fails while a block differs from the code.
"""

from __future__ import annotations

import json
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from churn_platform import errors  # noqa: E402 - the checkout's own, not an installed one
from churn_platform.monitoring.markdown import table  # noqa: E402
from churn_platform.settings import CHECKOUT, Settings  # noqa: E402
from churn_platform.sources.contract import json_schema  # noqa: E402

BLOCK: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """Every setting: variable, what it takes, default, meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, Path) and default.is_relative_to(CHECKOUT):
            default = f"{default.relative_to(CHECKOUT)} in the checkout"
        rows.append(
            [
                f"`CHURN_{name.upper()}`",
                _takes(field.annotation, field.metadata),
                "none" if default is None else f"`{default}`",
                field.description or "",
            ]
        )
    return table(["variable", "takes", "default", "meaning"], rows)


def _takes(annotation: Any, metadata: list[Any]) -> str:
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    names = {
        "Path": "a path",
        "bool": "`true` or `false`",
        "int": "a whole number",
        "SecretStr | None": "text, kept secret",
        "str": "text",
    }
    text = names.get(getattr(annotation, "__name__", str(annotation)), "")
    text = text or next((words for key, words in names.items() if key in str(annotation)), str(annotation))
    for rule in metadata:
        if (least := getattr(rule, "ge", None)) is not None:
            text += f" from {least}"
        if (pattern := getattr(rule, "pattern", None)) is not None:
            text += f" matching `{pattern}`"
    return text


def errors_table() -> str:
    """Every error class in the order of the tree: class, code, status, title."""
    rows = [
        [f"{'· ' * depth}`{kind.__name__}`", f"`{kind.code}`", str(kind.status), kind.title]
        for depth, kind in _tree(errors.ChurnError, 0)
    ]
    return table(["class", "code", "HTTP status", "title"], rows)


def _tree(kind: type[errors.ChurnError], depth: int) -> Iterator[tuple[int, type[errors.ChurnError]]]:
    yield depth, kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child, depth + 1)


BLOCKS: Final[dict[str, Callable[[], str]]] = {"settings": settings_table, "errors": errors_table}


def regenerate(text: str) -> str:
    """``text`` with every generated block written anew.

    Raises:
        KeyError: for a block that nothing generates.
    """
    return BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def contract_schema() -> str:
    """The JSON schema of the source contract, as it is published."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Rewrite the pages that have generated blocks, and the schema."""
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = regenerate(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    (DOCS / "reference" / "contract.schema.json").write_text(contract_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
