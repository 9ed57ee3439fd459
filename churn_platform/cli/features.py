"""``churn features``: the catalogue, one customer's features, why a feature is there, and pushing newer ones."""

from __future__ import annotations

import json as jsonlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from churn_platform.records.home import Home
    from churn_platform.sources.contract import Contract

app = typer.Typer(no_args_is_help=True, help="Features: list, show, why, push.", rich_markup_mode="markdown")
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("list")
def list_features(json: Json = False) -> None:
    """List the features of this home's contract: family, meaning, unit, and which model versions read them.

    Example: `churn features list`
    """
    from rich.table import Table

    from churn_platform.cli.output import out, print_json
    from churn_platform.features.about import listed

    home, contract, since = _opened()
    found = listed(home, contract, since)
    if json:
        print_json({"features": found})
        return
    table = Table("feature", "family", "kind", "unit", "what it is", "null", "models", box=None)
    for one in found:
        cells = [one[name] for name in ("name", "family", "kind", "unit", "label", "null_policy")]
        table.add_row(*cells, ", ".join(one["read_by"]) or "-")
    out.print(table)


@app.command("show")
def show(
    customer: Annotated[str, typer.Argument(help="The company's own id.")],
    at: Annotated[
        str | None,
        typer.Option("--at", help="As known at this date (2026-03-01) or time (with an offset); default: online now."),
    ] = None,
    json: Json = False,
) -> None:
    """Show a customer's features: those online now, or those of a date in the past, through Feast.

    Example: `churn features show ACME-1042 --at 2026-03-01`
    """
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import out, print_json
    from churn_platform.errors import UnknownCustomerError
    from churn_platform.records.home import Home
    from churn_platform.records.vault import IdentityVault

    enter_home()  # "now" is that of the home's data
    home = Home.open()
    pseudonym = IdentityVault.open(home).find(customer)
    if pseudonym is None:
        raise UnknownCustomerError("No customer has this id.", mend="Write it as the company's own tables do.")
    answer = _online(home, pseudonym) if at is None else _offline(home, pseudonym, _moment(at))
    if json:
        print_json({"customer_id": customer, **answer})
        return
    out.print(f"{customer}: {answer['source']}, as of {answer['as_of'] or 'no date'}", markup=False)
    for name, value in answer["features"].items():
        out.print(f"  {name:40} {'unknown' if value is None else value}", markup=False, soft_wrap=True)


@app.command("why")
def why(
    name: Annotated[str, typer.Argument(help="The feature's name.")],
    json: Json = False,
) -> None:
    """Say what a feature means, what it is made from, what null is, and whether contract and model have it.

    Example: `churn features why logins_30d`
    """
    from churn_platform.cli.output import out, print_json
    from churn_platform.features.about import why as explain

    home, contract, since = _opened()
    found = explain(home, contract, name, since)
    if json:
        print_json(found)
        return
    feature = found["feature"] or {}
    missing = f"{found['table'] or 'other features'}: {', '.join(found['columns'] or found['inputs']) or 'its rows'}"
    source = _few(found["read_from"]) or missing
    lines = {
        "what it is": feature.get("label"),
        "meaning": feature.get("description"),
        "unit": feature.get("unit"),
        "null": feature.get("null_policy"),
        "made from": source,
        "why": found["reason"],
    }
    out.print(name, markup=False)
    for title, text in lines.items():
        if text:
            out.print(f"  {title:12} {text}", markup=False, soft_wrap=True)


@app.command("push")
def push(
    rows: Annotated[str, typer.Argument(help="A JSON object, a file of one object a line, or - for stdin.")],
    json: Json = False,
) -> None:
    """Push newer features of customers online: checked, through Feast, visible when the command ends.

    A row has `customer_id` (the company's own), `event_timestamp` (with an offset) and every feature of each view that
    it touches. All rows are checked before any is written. An older row than the one online changes nothing.

    Example: `churn features push rows.jsonl`
    """
    from churn_platform.cli.environment import enter_home
    from churn_platform.cli.output import out, print_json
    from churn_platform.features.push import Pusher
    from churn_platform.records.home import Home

    found = _rows(rows)
    enter_home()  # "now" is that of the home's data
    pusher = Pusher(Home.open())
    checked = [pusher.check(row) for row in found]
    for row in checked:
        pusher.write(row)
    views = sorted({view for row in checked for view in row.values})
    if json:
        print_json({"pushed": len(checked), "views": views})
    else:
        out.print(f"{len(checked)} rows are online: {', '.join(views)}.", markup=False)


def _opened() -> tuple[Home, Contract, dict[str, datetime]]:
    """The home, its contract, and since when its columns that are overwritten in place are known."""
    from churn_platform.records.home import Home
    from churn_platform.records.refs import Refs
    from churn_platform.settings import settings
    from churn_platform.sources.location import load_location
    from churn_platform.sources.mutable import SnapshotLog, usable_since

    home = Home.open()
    location = load_location(home, settings().problem)
    calendar = location.calendar
    observations = calendar.observations if calendar else ()
    return home, location.contract, usable_since(location.contract, SnapshotLog(Refs(home.refs)), observations)


def _online(home: Home, pseudonym: str) -> dict[str, Any]:
    from churn_platform.features.online import OnlineReader
    from churn_platform.features.online import Vector as Found
    from churn_platform.serving.lookup import no_vector
    from churn_platform.sources.tables import SNAPSHOT_AS_OF

    vector = OnlineReader(home).get([pseudonym])[pseudonym]
    if not isinstance(vector, Found):
        raise no_vector(vector)
    moment = vector["event_timestamp"]
    return {
        "source": "online",
        "as_of": None if moment.replace(tzinfo=None) == SNAPSHOT_AS_OF else moment.isoformat(),
        "generation": vector.generation,
        "features": {name: value for name, value in vector.items() if name != "event_timestamp"},
    }


def _offline(home: Home, pseudonym: str, moment: datetime) -> dict[str, Any]:
    from churn_platform.features.feast_objects import JOIN_KEY
    from churn_platform.features.feast_store import historical

    found = historical(home, [{JOIN_KEY: pseudonym, "event_timestamp": moment}]).to_dict("records")[0]
    features = {
        str(name): None if value is None or value != value else value
        for name, value in found.items()
        if name not in (JOIN_KEY, "event_timestamp")
    }
    return {"source": "offline", "as_of": moment.isoformat(), "features": features}


def _moment(text: str) -> datetime:
    from churn_platform.errors import InvalidRequestError

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        mend = "Write a date such as 2026-03-01, or a time with an offset."
        raise InvalidRequestError(f"{text!r} is no date.", mend=mend, field="at") from error
    if moment.tzinfo is None and len(text) > len("2026-03-01"):
        raise InvalidRequestError(f"{text!r} has no offset.", mend="End it in Z for UTC.", field="at")
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _rows(given: str) -> list[dict[str, Any]]:
    """The rows to push, from the command line, a file or stdin."""
    from churn_platform.errors import InvalidRequestError

    if given.lstrip().startswith(("{", "[")):
        text = given
    elif given == "-":
        text = sys.stdin.read()
    else:
        text = Path(given).read_text(encoding="utf-8")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = jsonlib.loads(line)
            except ValueError as error:
                raise InvalidRequestError(
                    f"Line {number} is no JSON: {error}.", mend="Write one JSON object a line.", field="rows"
                ) from error
            if not isinstance(row, dict):
                raise InvalidRequestError(
                    f"Line {number} is no JSON object.", mend="Write one JSON object a line.", field="rows"
                )
            found.append(row)
    if not found:
        raise InvalidRequestError("There is no row to push.", mend="Write one JSON object a line.", field="rows")
    return found


def _few(places: list[str], most: int = 8) -> str:
    more = f" and {len(places) - most} more columns" if len(places) > most else ""
    return ", ".join(places[:most]) + more
