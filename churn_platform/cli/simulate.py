"""``churn simulate``: a SaaS company's tables with a known truth, for tests, demos and drills."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Simulated raw tables with known truth.", rich_markup_mode="markdown")


@app.command("new")
def new(
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not exist yet.")],
    customers: Annotated[int, typer.Option("--customers", min=10, help="Accounts active at every time.")] = 5000,
    months: Annotated[int, typer.Option("--months", min=3, help="Months of history.")] = 18,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same tables.")] = 7,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            help="none, price_shock, price_creep, mix_shift, concept_shift, missing_feed or region_bias.",
        ),
    ] = "none",
    difficulty: Annotated[
        str, typer.Option("--difficulty", help="default (oracle AUC .89), medium (.80) or hard (.72).")
    ] = "default",
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Write a company's raw tables, their contract and, apart, the ground truth.

    Example: `churn simulate new ./acme --customers 5000 --months 18 --preset price_shock`
    """
    from churn_platform.cli.output import Stages, print_json
    from churn_platform.cli.output import out as console
    from churn_platform.errors import ConfigurationError
    from churn_platform.sources.simulator.simulate import simulate
    from churn_platform.sources.simulator.spec import SimulationSpec

    if out.exists():
        raise ConfigurationError(f"{out} is there already.", mend="Give a folder that does not exist.", field="out")
    spec = SimulationSpec(accounts=customers, months=months, seed=seed, preset=preset, difficulty=difficulty)
    with Stages().stage("simulate", f"Simulate {customers:,} accounts × {months} months") as stage:
        made = simulate(spec, out, progress=stage.update)
    if json:
        print_json({"path": str(out), "as_of": made.as_of, "rows": made.rows, "digest": made.digest})
        return
    console.print(f"{out}: {sum(made.rows.values()):,} rows in {len(made.rows)} tables, as of {made.as_of:%Y-%m-%d}.")


@app.command("advance")
def advance(
    folder: Annotated[
        Path | None, typer.Argument(help="The folder of a simulation; default: the one that this home's demo made.")
    ] = None,
    months: Annotated[int, typer.Option("--months", min=1, help="Months that pass.")] = 1,
    preset: Annotated[str, typer.Option("--preset", help="The drift that is at work in these months.")] = "none",
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Let months pass in a simulated company: its systems deliver new files, and the platform finds them.

    Example: `churn simulate advance --months 1 --preset price_shock`
    """
    from churn_platform.cli.output import Stages, print_json
    from churn_platform.cli.output import out as console
    from churn_platform.records.home import Home
    from churn_platform.records.lock import exclusive
    from churn_platform.settings import settings
    from churn_platform.sources.location import load_location
    from churn_platform.sources.simulator.advance import advance as deliver

    home = Home.open()
    chosen = folder or load_location(home, settings().problem).path
    # Nothing reads the tables while they are replaced.
    with (
        exclusive(home.run / "pipeline.lock", "change its tables", wait=120.0),
        Stages().stage("simulate", f"Let {months} month{'s' * (months > 1)} pass ({preset})") as stage,
    ):
        made = deliver(chosen, months, preset, progress=stage.update)
    if json:
        print_json({"path": str(chosen), "as_of": made.as_of, "new": made.new, "changed": made.changed})
        return
    console.print(
        f"{chosen}: as of {made.as_of:%Y-%m-%d}; new: {', '.join(made.new) or 'none'}; "
        f"delivered anew: {', '.join(made.changed) or 'none'}.",
        soft_wrap=True,
    )
