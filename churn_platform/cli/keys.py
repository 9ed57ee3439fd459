"""``churn keys``: API keys. A secret is shown once, when it is made; only its hash is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="API keys: make, list, revoke.", rich_markup_mode="markdown")
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who uses it, such as the program's name.")],
    role: Annotated[
        str,
        typer.Option("--role", help="admin, ml_engineer, analyst, customer_success, auditor or service."),
    ] = "service",
    days: Annotated[int | None, typer.Option("--days", min=1, help="Days until it expires; default never.")] = None,
    json: Json = False,
) -> None:
    """Make a key and print its secret, once.

    Example: `churn keys create crm-sync --role service --days 90`
    """
    from churn_platform.cli.output import err, print_json
    from churn_platform.identity.keys import ApiKeys
    from churn_platform.records.home import Home

    secret, record = ApiKeys.open(Home.open()).create(name, role, expires_in=timedelta(days=days) if days else None)
    if json:
        print_json({"secret": secret, **record.to_json()})
        return
    typer.echo(secret)
    err.print(f"[dim]Key {record.key_id} for {record.name}, role {record.role}. It is shown only now.[/]")


@app.command("list")
def list_keys(json: Json = False) -> None:
    """List the keys, without their secrets.

    Example: `churn keys list`
    """
    from rich.table import Table

    from churn_platform.cli.output import out, print_json
    from churn_platform.identity.keys import ApiKeys
    from churn_platform.records.home import Home

    records = ApiKeys.open(Home.open()).list()
    if json:
        print_json({"keys": [record.to_json() for record in records]})
        return
    table = Table("key", "name", "role", "created", "expires", "revoked", box=None)
    for record in records:
        plain = record.to_json()
        table.add_row(
            *[str(plain[k] or "-") for k in ("key_id", "name", "role", "created_at", "expires_at", "revoked_at")]
        )
    out.print(table)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `churn keys list` shows it.")],
    json: Json = False,
) -> None:
    """Revoke a key; requests with it are refused within a second.

    Example: `churn keys revoke 3f9k2m`
    """
    from churn_platform.cli.output import print_json
    from churn_platform.identity.keys import ApiKeys
    from churn_platform.records.home import Home

    ApiKeys.open(Home.open()).revoke(key_id)
    if json:
        print_json({"key_id": key_id, "revoked": True})
    else:
        typer.echo(f"Key {key_id} is revoked.")
