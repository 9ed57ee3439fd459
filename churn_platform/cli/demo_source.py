"""Where a demo's tables come from: what the home holds already, tables given, or the simulator."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from churn_platform.cli.output import Stage
from churn_platform.errors import ConfigurationError, SourceMissingError
from churn_platform.records.files import remove
from churn_platform.records.home import Home
from churn_platform.sources.contract import Contract, load_contract, parse_contract
from churn_platform.sources.location import (
    SourceLocation,
    copy_folder,
    find_location,
    folder,
    load_location,
    save_location,
)
from churn_platform.sources.readers_url import SourceUrl, parse_source


@dataclass(frozen=True)
class SourceRequest:
    """What the command line asks for; None where it says nothing."""

    source: str | Path | None = None
    contract: Path | None = None
    label: str | None = None
    positive: str | None = None
    id: str | None = None
    customers: int | None = None
    months: int | None = None
    seed: int | None = None
    preset: str | None = None

    @property
    def simulation(self) -> dict[str, Any]:
        """The simulator's options that were given, by the names of its specification."""
        names = {"customers": "accounts", "months": "months", "seed": "seed", "preset": "preset"}
        return {ours: v for given, ours in names.items() if (v := getattr(self, given)) is not None}


def prepare(home: Home, problem: str, request: SourceRequest, stage: Stage) -> SourceLocation:
    """The source of this demo, brought into the home where it is not there yet.

    Raises:
        ConfigurationError: for options that contradict each other, or a home that holds another source.
        SourceError: where the source or its contract cannot be used.
    """
    if request.source is None and request.contract is not None:
        request = replace(request, source=load_contract(request.contract).source)
    if request.source is not None:
        if request.simulation.keys() - {"seed"}:
            raise ConfigurationError(
                "--source brings tables of your own, --customers, --months and --preset simulate some.",
                mend="Give one or the other.",
                field="source",
            )
        return _given(home, problem, request, stage)
    for name in ("contract", "label", "positive", "id"):
        if getattr(request, name) is not None:
            raise ConfigurationError(
                f"--{name} describes tables of your own, but no --source says where they are.",
                mend="Add --source PATH, or a source to the contract.",
                field=name,
            )
    present = find_location(home, problem)
    if present is None:
        return _simulated(home, problem, request.simulation, stage)
    if request.simulation:
        _same_simulation(home, present, request.simulation)
    stage.note(f"the home's own: {_short(home, present)}")
    location = load_location(home, problem)
    origin = parse_source(location.origin)
    _bring(home, problem, location.contract, origin, stage)
    return location


def _given(home: Home, problem: str, request: SourceRequest, stage: Stage) -> SourceLocation:
    from churn_platform.sources.infer import infer_contract

    source = parse_source(request.source or "")
    if isinstance(source, Path):
        source = source.resolve()
        if not source.exists():
            raise SourceMissingError(f"There is no {request.source}.", mend="Give --source an existing file or folder.")
    present = find_location(home, problem)
    if present is not None and not _same_origin(present, source):
        raise _other_source(home, present)
    own = source / "contract.yaml" if isinstance(source, Path) and source.is_dir() else None
    chosen = request.contract or (own if own is not None and own.is_file() else None)
    if chosen is not None:
        _no_hints(chosen, request)
        load_contract(chosen)
        text = chosen.read_text(encoding="utf-8")
        stage.note(f"contract {chosen.name}")
    elif present is not None and not (request.label or request.positive or request.id):
        text = present.contract_text
        stage.note("the contract that this home inferred before")
    else:
        found = infer_contract(source, label=request.label, positive=request.positive, id=request.id)
        text = found.to_yaml()
        stage.note(f"contract inferred: {folder(home, problem) / 'contract.yaml'}")
    path = _bring(home, problem, parse_contract(yaml.safe_load(text)), source, stage)
    as_of = present.as_of if present is not None else None
    save_location(home, problem, path, text, as_of=as_of, origin=str(source))
    return load_location(home, problem)


def _no_hints(contract: Path, request: SourceRequest) -> None:
    """Stop where an option would be passed over: a contract says already what inference would be told."""
    given = [f"--{name}" for name in ("label", "positive", "id") if getattr(request, name) is not None]
    if given:
        raise ConfigurationError(
            f"The contract {contract.name} is taken as it stands: {' and '.join(given)} changes nothing.",
            mend="Leave the option out and mend the contract, or take the contract away to infer a new one.",
            field=given[0].removeprefix("--"),
        )


def _same_origin(present: SourceLocation, source: Path | SourceUrl) -> bool:
    kept = parse_source(present.origin)
    return kept.resolve() == source if isinstance(kept, Path) else kept == source


def _bring(home: Home, problem: str, contract: Contract, source: Path | SourceUrl, stage: Stage) -> Path:
    """The folder that stands for the source: a local copy, brought up to date, where it is not of this machine."""
    from churn_platform.sources.remote import bring, needs_copy

    if not needs_copy(contract, source):
        return Path(str(source))
    root = copy_folder(home, problem)
    loaded = bring(contract, source, root, progress=stage.update)
    files = sum(load.fetched for load in loaded.values() if load.rows is None)
    rows = sum(load.fetched for load in loaded.values() if load.rows is not None)
    changed = sum(load.mode != "unchanged" for load in loaded.values())
    parts = [f"{rows:,} rows"] * any(load.rows is not None for load in loaded.values())
    parts += [f"{files:,} files"] * any(load.rows is None for load in loaded.values())
    stage.note(f"{' and '.join(parts)} read, {changed} of {len(loaded)} tables changed")
    return root


def _simulated(home: Home, problem: str, options: dict[str, Any], stage: Stage) -> SourceLocation:
    from churn_platform.sources.simulator.simulate import simulate
    from churn_platform.sources.simulator.spec import SimulationSpec

    spec = SimulationSpec(**options)
    out = folder(home, problem) / "simulated"
    out.parent.mkdir(parents=True, exist_ok=True)
    for leftover in out.parent.glob(f".{out.name}-*"):  # of a run that was killed; the home is ours alone now
        remove(leftover)
    made = simulate(spec, out, progress=stage.update)
    save_location(home, problem, out, (out / "contract.yaml").read_text(encoding="utf-8"))
    stage.note(f"{sum(made.rows.values()):,} rows in {len(made.rows)} tables")
    return load_location(home, problem)


def _same_simulation(home: Home, present: SourceLocation, options: dict[str, Any]) -> None:
    """Refuse options that differ from the simulation that the home holds."""
    facts = present.path / "simulation.json"
    if not facts.is_file():
        raise _other_source(home, present)
    spec = json.loads(facts.read_text())["spec"]
    different = {name: spec.get(name) for name, value in options.items() if spec.get(name) != value}
    if different:
        held = ", ".join(f"{name} {value}" for name, value in different.items())
        raise ConfigurationError(
            f"This home holds another simulation ({held}).",
            mend="Set CHURN_HOME to a new folder for this one, or leave the options out to use what is there.",
            field=next(iter(different)),
        )


def _other_source(home: Home, present: SourceLocation) -> ConfigurationError:
    return ConfigurationError(
        f"This home holds another source ({_short(home, present)}); one home serves one company's tables.",
        mend="Set CHURN_HOME to a new folder for this one.",
        field="source",
    )


def _short(home: Home, location: SourceLocation) -> str:
    path = Path(location.origin)
    return path.relative_to(home.root).as_posix() if path.is_relative_to(home.root) else location.origin
