"""``churn outlets``: where the ranked list and messages are sent, and how that has gone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from churn_platform.outlets.deliver import Deliverer
    from churn_platform.outlets.outbox import Delivery

app = typer.Typer(
    no_args_is_help=True,
    help="Where the ranked list and signed messages are sent: add, try, deliver, look at what could not be delivered.",
    rich_markup_mode="markdown",
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
Name = Annotated[str, typer.Argument(help="The outlet's name.")]


def _open() -> Deliverer:
    from churn_platform.cli.environment import enter_home
    from churn_platform.outlets.deliver import Deliverer
    from churn_platform.records.home import Home

    enter_home()
    return Deliverer(Home.open())


@app.command("add")
def add(
    kind: Annotated[str, typer.Argument(help="webhook, postgres or parquet.")],
    target: Annotated[
        str,
        typer.Argument(
            help="A URL, postgresql://user@host/database, or a folder; - reads it from stdin (for passwords)."
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="How to call it; default the kind.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event", help="Webhook: list.ready, champion.changed or data.fault; may be repeated; default all."
        ),
    ] = None,
    ids: Annotated[
        str, typer.Option("--ids", help="Table or file: pseudonym, or company for the company's own ids.")
    ] = "pseudonym",
    schema: Annotated[str, typer.Option("--schema", help="Table: the schema that it is made in.")] = "churn_lists",
    json: Json = False,
) -> None:
    """Add an outlet. The secret of a webhook is printed once, on stdout; tables and files get the present list next.

    Example: `churn outlets add webhook https://example.com/hooks/churn --event list.ready`
    """
    from churn_platform.cli.output import err, print_json
    from churn_platform.outlets.kinds import LIST_READY
    from churn_platform.outlets.lists import present_list
    from churn_platform.records.refs import Refs

    work = _open()
    called = name or kind
    target = sys.stdin.readline().strip() if target == "-" else target
    outlet, secret = work.outlets.add(kind, target, name=called, events=event or (), ids=ids, schema=schema)
    present = present_list(Refs(work.home.refs))
    if outlet.kind != "webhook" and present is not None:
        work.outbox.announce(LIST_READY, present.to_json(), key=f"added:{outlet.id}", to=[outlet.id])
    if json:
        print_json({**outlet.to_json(), "secret": secret})
        return
    if secret is not None:
        typer.echo(secret)
        err.print(f"[dim]The secret of {outlet.name}: the receiver checks signatures with it. It is shown only now.[/]")
    else:
        first = "the present one" if present is not None else "the first: there is none yet"
        err.print(f"[dim]{outlet.name} gets each new list, beginning with {first}.[/]")


@app.command("list")
def list_outlets(json: Json = False) -> None:
    """List the outlets and how many deliveries wait, are done and are dead; no secrets.

    Example: `churn outlets list`
    """
    from rich.markup import escape
    from rich.table import Table

    from churn_platform.cli.output import out, print_json

    work = _open()
    counts = work.outbox.counts()
    told = [{**o.to_json(), "deliveries": counts.get(o.id, {})} for o in work.outlets.list()]
    if json:
        print_json({"outlets": told})
        return
    if not told:
        out.print("There are no outlets yet; `churn outlets add` adds one.")
        return
    table = Table("name", "kind", "target", "events", "ids", "waiting", "done", "dead", "stopped", box=None)
    for one in told:
        count: dict[str, int] = one["deliveries"]
        table.add_row(
            one["name"],
            one["kind"],
            escape(one["target"]),
            ", ".join(one["events"]),
            one["options"].get("ids", "-"),
            *[str(count.get(state, 0)) for state in ("waiting", "done", "dead")],
            escape(one["stopped"] or "-"),
        )
    out.print(table)


@app.command("remove")
def remove(name: Name, json: Json = False) -> None:
    """Remove an outlet, its secret and its deliveries; what it has received stays there.

    Example: `churn outlets remove crm`
    """
    from churn_platform.cli.output import print_json

    _open().outlets.remove(name)
    if json:
        print_json({"name": name, "removed": True})
    else:
        typer.echo(f"Outlet {name} is removed.")


@app.command("test")
def try_out(name: Name, json: Json = False) -> None:
    """Send a message of the type outlet.test to one outlet, now, once; exit code 1 where it is not received.

    Example: `churn outlets test crm`
    """
    from churn_platform.cli.output import print_json

    work = _open()
    done, said = work.test(work.outlets.get(name))
    if json:
        print_json({"name": name, "delivered": done, "said": said})
    else:
        typer.echo(f"{name}: {said}")
    if not done:
        sys.exit(1)


@app.command("deliver")
def deliver(
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until Ctrl-C, for homes that `churn up` does not run.")
    ] = False,
    json: Json = False,
) -> None:
    """Announce what is new and try all deliveries that are due; exit code 1 where one of them was not received.

    `churn up` and `churn demo` do this all the time.

    Example: `churn outlets deliver`
    """
    import threading

    from churn_platform.cli.output import print_json

    work = _open()
    if follow:
        work.run(threading.Event())  # ends with KeyboardInterrupt, like every command
    tried = work.work()
    if json:
        print_json({"deliveries": [one.to_json() for one in tried]})
    else:
        _show(tried, "Nothing is due.")
    if any(one.state != "done" for one in tried):
        sys.exit(1)


@app.command("dead")
def dead(json: Json = False) -> None:
    """List the deliveries that have been given up, with the last words of the other side.

    Example: `churn outlets dead`
    """
    from churn_platform.cli.output import print_json

    found = _open().outbox.deliveries("dead")
    if json:
        print_json({"deliveries": [one.to_json() for one in found]})
    else:
        _show(found, "No delivery has been given up.")


@app.command("retry")
def retry(
    delivery: Annotated[
        str | None, typer.Argument(help="The delivery's id, as `churn outlets dead` shows it; default all.")
    ] = None,
    json: Json = False,
) -> None:
    """Let dead deliveries begin anew, under the ids that they had; an outlet that was stopped goes on.

    Example: `churn outlets retry`
    """
    from churn_platform import clock
    from churn_platform.cli.output import print_json

    count = _open().outbox.retry(clock.wall(), delivery)
    if json:
        print_json({"retried": count})
    else:
        due = f"{count} deliver{'y is' if count == 1 else 'ies are'} due again."
        typer.echo(due if count else "No delivery has been given up.")


def _show(found: list[Delivery], nothing: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from churn_platform.cli.output import out

    if not found:
        out.print(nothing)
        return
    table = Table("delivery", "outlet", "event", "state", "attempts", "said", box=None)
    for one in found:
        row: list[Any] = [one.id, one.outlet, one.announcement.kind, one.state, one.attempts, one.said or "-"]
        table.add_row(*[escape(str(cell)) for cell in row])
    out.print(table)
