"""The ``churn`` command. Each group lives in a module of its own and imports what it needs when it runs."""

from __future__ import annotations

import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from churn_platform import __version__
from churn_platform.cli import (
    alerts,
    audit,
    contract,
    demo,
    doctor,
    environment,
    features,
    keys,
    logs,
    materialize,
    outlets,
    quarantine,
    serve,
    simulate,
    status,
    up,
)
from churn_platform.cli.explain import explained, full_disk
from churn_platform.cli.output import err, print_error, print_json
from churn_platform.errors import ChurnError

app = typer.Typer(
    name="churn",
    help="Learns from a company's raw tables who will leave, says why, serves that and watches itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("demo")(demo.demo)
app.command("env")(environment.env)
app.command("materialize")(materialize.materialize)
app.command("serve")(serve.serve)
app.command("alerts")(alerts.alerts)
app.command("up")(up.up)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("doctor")(doctor.doctor)
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(simulate.app, name="simulate")
app.add_typer(contract.app, name="contract")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(features.app, name="features")
app.add_typer(outlets.app, name="outlets")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"churn-platform {__version__}")
        raise typer.Exit


def _home(value: Path | None) -> None:
    if value is not None:
        from churn_platform.cli.environment import use_home

        use_home(value)


@app.callback()
def root(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="The folder that everything is written to; default $CHURN_HOME, else .churn.",
            callback=_home,
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options that go before the command."""


def main() -> None:
    """Entry point: an error of ours becomes one paragraph and exit code 1."""
    if not sys.warnoptions:
        # What libraries deprecate among themselves is nothing that the reader of a command's output can mend.
        warnings.simplefilter("ignore")
    # Like Ctrl-C: what is under way is left in order, children are stopped, temporary files removed.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except ChurnError as error:
        _fail(full_disk(error) or error)
    except KeyboardInterrupt:
        err.print("Stopped. What was made stays; run it again to go on.")
        sys.exit(130)
    except Exception as error:
        told = explained(error) or _system(error)
        if told is None:
            raise
        _fail(told)


def _system(error: Exception) -> ChurnError | None:
    """What the operating system refused, as one paragraph; None for a fault of the program."""
    if not isinstance(error, OSError):
        return None
    place = f"{error.filename}: " if error.filename else ""
    mend = "See that the path exists, that it may be written, and that the disk has space."
    return ChurnError(f"{place}{error.strerror or error}.", mend=mend)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(error: ChurnError) -> NoReturn:
    """Exit with code 1. A program that asked for JSON gets an object also where the command fails."""
    print_error(error)
    if "--json" in sys.argv:
        print_json({"status": "error", "message": error.message, "mend": error.mend})
    sys.exit(1)


if __name__ == "__main__":
    main()
