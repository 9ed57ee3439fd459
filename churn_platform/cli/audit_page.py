"""The answer to the audit question as a tree in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.tree import Tree


def page(value: Mapping[str, Any]) -> Tree:
    """The tree of one answer (``audit_why/1``)."""
    model = value["model"]
    root = Tree(f"[bold]{escape(_title(value))}[/]")
    if (event := value["prediction"]) is not None:
        _prediction(root, event)
    _branch(
        root,
        f"Model: {model['name']} version {model['version']}, champion since {_time(model['promoted_at'])}",
        f"package {model['digest']}",
        f"evidence: {model['tier']}; MLflow run {model['mlflow_run']}",
        *([f"recalibrated; before: {', '.join(model['recalibrated_from'])}"] if model["recalibrated_from"] else []),
    )
    _reason(root, value["reason"])
    _data(root, value["data"])
    _branch(
        root,
        "Code: a digest of the source files behind each step",
        *(f"{asset}: {', '.join(versions)}" for asset, versions in _folded(value["code"]["versions"])),
    )
    _parameters(root, value["parameters"])
    _approvals(root, value["approvals"])
    _report(root, value["report"])
    _branch(root, "Runs, as Dagster recorded them", *(_run(run) for run in value["runs"]))
    if value["missing"]:
        branch = root.add("[red]Not answered by the records[/]")
        for line in value["missing"]:
            branch.add(escape(line))
    else:
        root.add("[green]Nothing is missing:[/] every input is recorded, back to the raw tables.")
    return root


def _title(value: Mapping[str, Any]) -> str:
    model, event = value["model"], value["prediction"]
    who = f"{model['name']} version {model['version']}"
    if event is None:
        return f"How {who} came about"
    return f"Prediction {event['prediction_id']}: served by {who}"


def _prediction(root: Tree, event: Mapping[str, Any]) -> None:
    key, vector = event.get("key"), event["vector"]
    caller = f"key {event['key_id']}" + (f" ({key['name']}, {key['role']}, {key['state']})" if key else "")
    asked = f"customer {event['pseudonym']} (pseudonym)" if event["pseudonym"] else "features that the caller sent"
    confirmed = {
        True: "the row of that table gives the recorded digest",
        False: "no stored table of that month gives the recorded digest",
        None: "what the caller sent is kept as a digest only",
    }[vector["confirmed"]]
    lines = [
        f"asked for {asked} by {caller}",
        f"answered {event['probability']:.1%} ({event['risk_band']}), log-odds {event['margin']:+.4f}",
        f"from the vector {event['vector_digest'][:12]}, {vector['source']}: {confirmed}",
    ]
    if event["degraded"]:
        lines.append(f"marked as degraded: {event['degraded']}")
    _branch(root, f"Answer of {_time(event['at'])}", *lines)


def _reason(root: Tree, reason: Mapping[str, Any]) -> None:
    if reason["reason"] is None:
        _branch(root, f"Made because: {reason['asked_by']} asked for it")
        return
    diagnosis = reason.get("diagnosis") or {}
    told = [f"month {reason['month']}"] if reason["month"] else []
    if diagnosis:
        told.append(f"diagnosis of {diagnosis['month']}: {diagnosis['kind']}; it asked for: {diagnosis['response']}")
        told.append(f"report {reason['report']}")
    _branch(root, f"Made because: {reason['reason']}", *told)


def _data(root: Tree, data: Mapping[str, Any]) -> None:
    months = data["months"]
    branch = root.add(escape(f"Data: {_count(data['rows'])} rows, {_count(data['leavers'])} leavers, {_span(months)}"))
    branch.add(escape(f"training set {data['training_set']}; {data['features']} features"))
    branch.add(escape(f"features of {_span(data['feature_tables'])}; labels of {_span(data['label_tables'])}"))
    tables = branch.add("raw tables, each by the digest of its files and contract")
    for table, found in data["sources"].items():
        files = ", ".join(digest[:12] for digest in found["files"]) or "unknown"
        tables.add(escape(f"{table}: {found['rows']:,} rows known by the last date, files {files}"))
    for name, digests in data["contract"].items():
        branch.add(escape(f"{name.replace(':', ' ')}: {', '.join(digest[:12] for digest in digests)}"))


def _parameters(root: Tree, parameters: Mapping[str, Any]) -> None:
    search, split = parameters["search"], parameters["split"] or {}
    lines = [", ".join(f"{name} {value}" for name, value in search.items())] if search else []
    if parameters["model"]:
        lines.append(", ".join(f"{name} {_short(value)}" for name, value in sorted(parameters["model"].items())))
    if split:
        lines.append(
            f"learned from {_span(split['train'])}, left out {_span(split['embargoed'])}, judged on "
            f"{_span(split['holdout'])}"
        )
    if parameters["recalibration"]:
        lines.append(f"then its intercept was shifted: {_short(parameters['recalibration'])}")
    _branch(root, f"Parameters: protocol {parameters['protocol']}", *lines)


def _approvals(root: Tree, approvals: Mapping[str, Any]) -> None:
    gate, registry = approvals["gate"], approvals["registry"]
    branch = root.add("Approvals")
    branch.add(escape(approvals["note"]))
    decision = branch.add(escape(f"gate: {gate['outcome']} at {_time(gate['decided_at'])}"))
    for check in gate["checks"]:
        decision.add(escape(f"{check['outcome']}: {check['name']}: {check['reason']}"))
    held = "the registry holds it" if registry["recorded"] else "the registry does not hold it"
    branch.add(
        escape(
            f"version {registry['version']} got the alias {registry['alias']} at {_time(registry['set_at'])}; {held}"
        )
    )


def _report(root: Tree, report: Mapping[str, Any]) -> None:
    if "auc" not in report:
        _branch(root, "Report: not there")
        return
    floors = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in report["floors"].items() if value is not None
    )
    _branch(
        root,
        f"Report: AUC {report['auc']:.3f} ({report['auc_low']:.3f} to {report['auc_high']:.3f}) on {report['rows']:,} "
        f"rows that it had not learned from",
        f"beside {floors}" if floors else "no floor was evaluated",
        f"calibration slope {report['calibration_slope']:.2f}, log loss {report['log_loss']:.4f}, lift in the first "
        f"tenth {report['lift_at_10']:.1f}",
        f"evaluation {report['evaluation']}",
        *report.get("notes", ()),
    )


def _run(run: Mapping[str, Any]) -> str:
    if not run["known"]:
        return f"{run['run_id']}: not known any more"
    return f"{run['page']}: {run['job']}, {run['status']}, {_time(run['started_at'])}, asked for by {run['asked_by']}"


def _branch(root: Tree, title: str, *lines: str) -> None:
    branch = root.add(escape(title))
    for line in lines:
        branch.add(escape(line))


def _folded(versions: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, Sequence[str]]]:
    """All tables that share their code as one line."""
    tables = {tuple(found) for asset, found in versions.items() if asset.startswith("sources/")}
    for found in tables:
        yield "sources/*", found
    yield from ((asset, found) for asset, found in versions.items() if not asset.startswith("sources/"))


def _span(months: Iterable[str]) -> str:
    found = sorted(months)
    if not found:
        return "no month"
    if len(found) == 1:
        return found[0]
    return f"{len(found)} months, {found[0]} to {found[-1]}"


def _count(value: int | None) -> str:
    return "an unknown number of" if value is None else f"{value:,}"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 160 else text[:160] + " …"


def _time(text: str | None) -> str:
    return "an unknown time" if text is None else text[:19].replace("T", " ") + " UTC"
