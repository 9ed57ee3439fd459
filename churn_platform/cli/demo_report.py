"""What a demo says at the end: one JSON object for programs, one screen for people."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from churn_platform.cli.output import out
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault


def summarize(
    home: Home,
    *,
    predictions: list[dict[str, Any]],
    materialized: list[str],
    seconds: dict[str, float],
    elapsed: float,
    urls: dict[str, str | None],
) -> dict[str, Any]:
    """The answer of ``churn demo --json`` (DESIGN.md section 12): fields may be added, never renamed."""
    refs, store = Refs(home.refs), ContentStore(home.store)
    champion = refs.get("champion")
    evaluation = store.read_json(champion["evaluation"])
    challenger, decision = refs.get("challenger"), store.read_json(refs.get("gate")["digest"])
    scores = refs.get("scores_current")
    return {
        "status": "ok",
        "champion": {
            "name": champion["name"],
            "version": champion["version"],
            "digest": champion["model"],
            "tier": champion["tier"],
        },
        "evaluation": {k: v for k, v in evaluation.items() if k not in _LONG},
        "gate": {
            "outcome": decision["outcome"],
            "challenger": challenger["model"],
            "is_champion": challenger["model"] == champion["model"],
            "reasons": decision["reasons"],
        },
        "oracle_auc": evaluation.get("oracle_auc"),
        "prediction": predictions[0],
        "online_customers": refs.get("online_features")["rows"],
        "scored_customers": scores["rows"],
        "revenue_at_risk": scores.get("revenue_at_risk"),
        "elapsed": round(elapsed, 3),
        "seconds": {name.removeprefix("asset:"): spent for name, spent in seconds.items()},
        "materialized": materialized,
        "urls": urls,
    }


# Curves and tables that are in the stored evaluation, too long for a summary.
_LONG = {"calibration", "by_month", "roc", "lift", "predictions", "oracle_auc"}


def print_report(home: Home, answer: dict[str, Any], predictions: list[dict[str, Any]], key: str | None) -> None:
    """The closing screen: how good, for whom, why, and where to look. ``key`` is shown where the service stays up."""
    _print_evaluation(answer)
    _print_ranked(home)
    _print_predictions(predictions)
    _print_places(home, answer, predictions, key)


def _print_evaluation(answer: dict[str, Any]) -> None:
    e, champion = answer["evaluation"], answer["champion"]
    out.print(
        f"\n[bold]Champion {escape(str(champion['name']))} version {champion['version']}[/]  "
        f"[dim]{champion['digest'][:12]}, evidence: {champion['tier']}, protocol: {e['protocol']}, "
        f"{e['rows']:,} rows, {e['positives']:,} leavers[/]"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("AUC", f"[bold]{e['auc']:.3f}[/]  (95 %: {e['auc_low']:.3f} to {e['auc_high']:.3f})")
    floors = e["floors"]
    table.add_row(
        "  beside",
        f"logistic regression {_three(floors['logistic_regression'])}, "
        f"recency rule {_three(floors['recency_rule'])}, "
        f"state oracle {_three(answer['oracle_auc'])}",
    )
    rival = e.get("against", {}).get("logistic_regression")
    if rival is not None and champion["tier"] == "full":  # with little evidence it is a logistic regression
        table.add_row("", _verdict(rival))
    table.add_row(
        "Calibration",
        f"slope {e['calibration_slope']:.2f}, ECE {e['ece']:.4f}, Brier {e['brier']:.4f}, log loss {e['log_loss']:.4f}",
    )
    table.add_row(
        "Lift",
        f"{e['lift_at_10']:.1f}× in the first tenth; precision at capacity {e['precision_at_capacity']:.1%}",
    )
    if answer["revenue_at_risk"] is not None:
        table.add_row(
            "Revenue at risk",
            f"{answer['revenue_at_risk']:,.0f} over the horizon, {answer['scored_customers']:,} customers scored",
        )
    out.print(table)
    for note in e.get("notes", ()):
        out.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    if not answer["gate"]["is_champion"]:
        out.print(
            f"[yellow]The newest challenger did not replace it[/] ({answer['gate']['outcome']}): "
            f"{escape(answer['gate']['reasons'][0])}.",
            soft_wrap=True,
        )


def _verdict(rival: dict[str, float]) -> str:
    """What the paired difference to logistic regression says, in words."""
    interval = f"difference {rival['difference']:+.3f}, 95 %: {rival['low']:+.3f} to {rival['high']:+.3f}"
    if rival["low"] > 0:
        return f"better than logistic regression ({interval})"
    if rival["high"] < 0:
        return f"[yellow]worse than logistic regression[/] ({interval}), within what the gate allows"
    return f"not shown to be better than logistic regression ({interval})"


def _three(value: float | None) -> str:
    return "not applicable" if value is None else f"{value:.3f}"


def _print_ranked(home: Home, count: int = 8) -> None:
    import pyarrow.parquet as pq

    ref = Refs(home.refs).get("scores_current")
    columns = ["customer_id", "rank", "probability", "mrr", "expected_loss", "risk_band", "reasons"]
    rows = pq.read_table(ContentStore(home.store).path(ref["digest"]), columns=columns).sort_by("rank")
    top = rows.slice(0, count).to_pylist()
    names = IdentityVault.open(home).reveal([row["customer_id"] for row in top])
    table = Table(
        box=None,
        title="Whom to call first",
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for name in ("#", "probability", "MRR", "expected loss"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for name, width in (("customer", 14), ("band", 8)):
        table.add_column(name, no_wrap=True, min_width=width)
    table.add_column("first reason", no_wrap=True, overflow="ellipsis")
    for row, customer in zip(top, names, strict=True):
        table.add_row(
            str(row["rank"]),
            f"{row['probability']:.1%}",
            _money(row["mrr"]),
            _money(row["expected_loss"]),
            str(customer),
            row["risk_band"],
            escape(row["reasons"][0]) if row["reasons"] else "-",
        )
    out.print()
    out.print(table)


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _print_predictions(predictions: list[dict[str, Any]]) -> None:
    out.print("\n[bold]Asked over HTTP[/]  [dim](POST /v1/predict)[/]")
    for answer in predictions:
        out.print(
            f"  {escape(str(answer['customer_id']))}: {answer['probability']:.1%} ({answer['risk_band']}), "
            f"margin {answer['margin']:+.3f} = base {answer['base_value']:+.3f} + "
            f"{len(answer['contributions'])} contributions",
            soft_wrap=True,
        )
        for reason in answer["reasons"][:3]:
            out.print(f"     · {escape(reason)}", soft_wrap=True)


def _print_places(home: Home, answer: dict[str, Any], predictions: list[dict[str, Any]], key: str | None) -> None:
    made = len(answer["materialized"])
    out.print(
        f"\n[dim]{answer['elapsed']:.0f} s; {made} asset{'s' if made != 1 else ''} made"
        f"{' (everything was up to date)' if not made else ''}. Everything lies below {home.root}.[/]",
        soft_wrap=True,
    )
    if key is None:
        return
    urls = answer["urls"]
    out.print(f"\n  Dagster UI   {urls['dagster']}\n  Service      {urls['service']}/docs", soft_wrap=True)
    out.print(f"  API key      {key}  [dim](valid for a day)[/]", soft_wrap=True)
    out.print(
        f"  Try          curl -s {urls['service']}/v1/predict -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{{\"customer_id\": \"{predictions[0]['customer_id']}\"}}'",
        soft_wrap=True,
        markup=False,
    )
    out.print("\nCtrl-C stops everything.")
