"""The documentation against the code: nothing undocumented, nothing documented that is not there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from churn_platform import errors
from churn_platform.records.home import FOLDERS
from churn_platform.settings import CHECKOUT, Settings

DOCS = CHECKOUT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(
    path
    for path in [*DOCS.rglob("*.md"), *CHECKOUT.glob("*.md")]
    if "_build" not in path.parts and path.name != "CHANGELOG.md"
)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# Parts written from the code


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "errors.md"])
def test_generated_parts_are_current(page: str, generate: ModuleType) -> None:
    text = text_of(REFERENCE / page)
    assert generate.BLOCK.search(text), f"{page} has lost its generated block"
    assert generate.regenerate(text) == text, "run `python docs/generate.py` and commit what it writes"


def test_every_setting_and_error_is_documented() -> None:
    settings, tree = text_of(REFERENCE / "settings.md"), text_of(REFERENCE / "errors.md")
    assert [n for n in Settings.model_fields if f"`CHURN_{n.upper()}`" not in settings] == []
    assert [n for n in errors.__all__ if f"`{n}`" not in tree] == []


def test_every_folder_of_the_home_is_documented() -> None:
    page = text_of(REFERENCE / "home.md")
    assert [name for name in FOLDERS if f"| `{name}/` |" not in page] == []
    documented = set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE))
    assert documented == set(FOLDERS)


# The command line


def commands() -> dict[str, Any]:
    """Every command of the Typer app by its path, such as "keys create", with the root as ""."""
    import typer

    from churn_platform.cli.main import app

    found: dict[str, Any] = {}

    def walk(command: Any, path: str) -> None:
        found[path] = command
        for name, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {name}".strip())

    walk(typer.main.get_command(app), "")
    return found


def options_of(command: Any) -> set[str]:
    return {
        name
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    } - {"--help"}


def sections() -> dict[str, str]:
    parts = re.split(r"^## `churn ([a-z ]+)`$", text_of(REFERENCE / "cli.md"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_every_command_and_option_is_documented() -> None:
    documented = sections()
    for path, command in commands().items():
        if hasattr(command, "commands") and path:
            continue  # a group by itself does nothing
        assert path in documented, f"docs/reference/cli.md has no section for `churn {path}`"
        lacking = [
            o for o in options_of(command) if f"`{o}" not in documented[path] and f" {o}" not in documented[path]
        ]
        assert not lacking, f"docs/reference/cli.md does not say what `churn {path}` does with {lacking}"


def test_every_documented_command_and_option_exists() -> None:
    known = commands()
    for path, section in sections().items():
        assert path in known, f"docs/reference/cli.md documents `churn {path}`, which is not there"
        named = set(re.findall(r"`(?:churn )?(--[a-z-]+)", section)) - {"--json", "--help"}
        allowed = options_of(known[path])
        assert named <= allowed, f"`churn {path}` has no {sorted(named - allowed)}"


def shown_lines(path: Path) -> Iterator[str]:
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`((?:churn|make) [^`\n]+)`", text_of(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_commands_shown_in_the_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(CHECKOUT / "Makefile"), re.MULTILINE))
    known = commands()
    for line in shown_lines(page):
        for call in re.findall(r"(?:^|\s|\$\()(?:\.venv/bin/)?(churn [^)#|;]*)", line):
            words = shlex.split(call.rstrip('"'))[1:]
            path = ""
            while words and f"{path} {words[0]}".strip() in known:
                path = f"{path} {words.pop(0)}".strip()
            if hasattr(known[path], "commands") and words and not words[0].startswith(("-", "…")):
                pytest.fail(f"{page.name} shows `{call.strip()}`, which is no command")
            allowed = options_of(known[path]) | {"--help"}
            unknown = {w.split("=")[0] for w in words if w.startswith("--")} - allowed
            assert not unknown, f"{page.name} shows `{call.strip()}`, but {sorted(unknown)} is no option of it"
        for target in re.findall(r"(?:^|\s)make ([a-z-]+)", line):
            assert target in targets, f"{page.name} shows `make {target}`, which is no target"


# Assets


def test_every_asset_is_documented(tmp_path: Path) -> None:
    code = (
        "import json; from churn_platform.definitions import defs; "
        "print(json.dumps(['/'.join(k.path) for k in defs.resolve_asset_graph().materializable_asset_keys]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CHURN_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = set(json.loads(done.stdout.splitlines()[-1]))
    documented = set(re.findall(r"^\| `([\w/]+)` \|", text_of(REFERENCE / "assets.md"), re.MULTILINE))
    assert names - documented == set(), "docs/reference/assets.md lacks assets"
    from churn_platform.sources.contract import RELATIONAL_TABLES, SNAPSHOT_TABLE

    possible = names | {f"sources/{table}" for table in (*RELATIONAL_TABLES, SNAPSHOT_TABLE)}
    assert documented - possible == set(), "docs/reference/assets.md has assets that are not there"


# The pages themselves


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(page)):
        if "://" not in target and not target.startswith("data:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_decisions_are_short_and_say_what_would_change_them() -> None:
    records = sorted((DOCS / "explanation" / "decisions").glob("0*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = text_of(path)
        assert len(text.splitlines()) <= 25, f"{path.name} is too long"
        for part in ("**Decision.**", "**Why.**", "**Cost.**", "**Revisit when**"):
            assert part in text, f"{path.name} lacks {part}"


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "-b",
            "html",
            "-d",
            tmp_path / "trees",
            DOCS,
            tmp_path / "html",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "html" / "index.html").exists()
