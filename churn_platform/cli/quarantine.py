"""``churn quarantine``: rows that the door has held back, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from churn_platform.records.home import Home

app = typer.Typer(no_args_is_help=True, help="Rows held back at the door: show.", rich_markup_mode="markdown")


@app.callback()
def root() -> None:
    """Rows held back at the door: show."""


@app.command("show")
def show(
    table: Annotated[str | None, typer.Argument(help="A table of the contract; default: all.")] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, max=100, help="Rows to show of each reason.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs; pseudonyms only.")] = False,
) -> None:
    """Why rows were held back: each reason with its count and a few rows.

    On a terminal the customers' own ids are shown beside the pseudonyms, where the vault still knows them.

    Example: `churn quarantine show tickets`
    """
    from churn_platform.cli.output import out, print_json
    from churn_platform.errors import SourceMissingError
    from churn_platform.records.home import Home
    from churn_platform.sources import quarantine

    home = Home.open()
    tables = quarantine.held_tables(home)
    if table is not None and table not in tables:
        held = f"Something is held of {', '.join(tables)}." if tables else "The door has held nothing back."
        raise SourceMissingError(f"Nothing is held of a table {table!r}.", mend=held, field="table")
    found = [one for name in ([table] if table else tables) for one in quarantine.show(home, name, examples=examples)]
    if json:
        print_json({"held": [one.to_json() for one in found]})
        return
    if not found:
        out.print("The door has held nothing back.")
        return
    own = _own_ids(home, [row["customer_id"] for one in found for row in one.examples]) if out.is_terminal else {}
    for name in dict.fromkeys(one.table for one in found):
        reasons = [one for one in found if one.table == name]
        out.print(f"{name}: {reasons[0].file}", soft_wrap=True, markup=False)
        for one in reasons:
            out.print(f"  {one.rows:,} × {one.effect}: {one.reason}", soft_wrap=True, markup=False)
            for row in one.examples:
                customer = row["customer_id"] or "no customer"
                shown = f"{customer} ({own[customer]})" if customer in own else customer
                times = f"event {row['event_time'] or 'unknown'}, known {row['ingested_at'] or 'unknown'}"
                out.print(
                    f"      row {row['row_id'] or 'without a key'}, {shown}, {times}", soft_wrap=True, markup=False
                )


def _own_ids(home: Home, pseudonyms: list[str | None]) -> dict[str, str]:
    from churn_platform.records.vault import IdentityVault

    wanted = sorted({pseudonym for pseudonym in pseudonyms if pseudonym})
    if not wanted:
        return {}
    revealed = IdentityVault.open(home).reveal(wanted)
    return {pseudonym: own for pseudonym, own in zip(wanted, revealed, strict=True) if own is not None}
