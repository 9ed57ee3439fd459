"""``churn contract``: what a company's tables mean; proposed from the data, and checked against it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Source contracts: infer, check.", rich_markup_mode="markdown")
Source = Annotated[
    str, typer.Argument(help="A flat file, a folder of tables, postgresql://user@host/database, or s3://bucket/prefix.")
]
Label = Annotated[str | None, typer.Option("--label", help="Flat file: the column that says who has left.")]
Positive = Annotated[str | None, typer.Option("--positive", help="Flat file: the label's value for: has left.")]
Id = Annotated[str | None, typer.Option("--id", help="The column that holds the customer's id.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command("infer")
def infer(
    source: Source,
    label: Label = None,
    positive: Positive = None,
    id: Id = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it here instead of on stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out where there is one.")] = False,
    json: Json = False,
) -> None:
    """Propose a contract, each role with its reason.

    Example: `churn contract infer customers.csv --out contract.yaml`
    """
    from dataclasses import asdict

    from churn_platform.cli.output import err, print_json
    from churn_platform.errors import ConfigurationError
    from churn_platform.records.files import write_atomic
    from churn_platform.sources.infer import infer_contract
    from churn_platform.sources.readers_url import parse_source

    origin = parse_source(source)
    if out is not None and (
        out.is_dir() or (out.exists() and not force) or (out.exists() and out.resolve() == Path(source).resolve())
    ):
        raise ConfigurationError(
            f"{out} is there already.", mend="Give --out a new name, or --force to replace a contract.", field="out"
        )
    if out is not None and not out.parent.is_dir():
        raise ConfigurationError(f"There is no folder {out.parent}.", mend="Make it first.", field="out")
    found = infer_contract(origin, label=label, positive=positive, id=id)
    text = found.to_yaml()
    if out is not None:
        write_atomic(out, text.encode())
        err.print(f"Written to {out}; look at each line marked DOUBT.", soft_wrap=True)
    if json:
        print_json(
            {
                "contract": found.contract.model_dump(mode="json", exclude_none=True),
                "decisions": [asdict(decision) for decision in found.decisions],
                "written": str(out) if out else None,
            }
        )
    elif out is None:
        typer.echo(text, nl=False)


@app.command("check")
def check(
    source: Source,
    contract: Annotated[Path | None, typer.Option("--contract", help="The contract; default: inferred.")] = None,
    json: Json = False,
) -> None:
    """Run every row rule over every row, writing nothing; exit code 1 where a table would be stopped.

    Example: `churn contract check ./tables --contract contract.yaml`
    """
    from churn_platform.cli.output import out, print_json
    from churn_platform.sources.check import check_source
    from churn_platform.sources.contract import load_contract
    from churn_platform.sources.remote import opened
    from churn_platform.training.leaks import leak_findings

    with opened(source, load_contract(contract) if contract else None) as (folder, described):
        report = leak_findings(check_source(folder, described), folder)
    if json:
        print_json(report.to_json())
    else:
        out.print(report.to_text(), soft_wrap=True, markup=False)
    if not report.passed:
        sys.exit(1)
