"""The business report as Markdown, as a flat set of figures, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from churn_platform.evaluation.profit import HORIZON_MONTHS
from churn_platform.monitoring.business_figures import BusinessReport, MonthFigures
from churn_platform.monitoring.markdown import Series, chart, image, money, percent, sparkline, table

SCHEMA = "business-report/1"


def metadata(report: BusinessReport) -> dict[str, float | int | str]:
    """Flat figures for an asset's metadata; what is unknown is left out."""
    rated = [month for month in report.months if month.matured]
    found: dict[str, float | int | str | None] = {
        "active_customers": report.active_customers,
        "active_mrr": report.active_mrr,
        "revenue_at_risk": report.revenue_at_risk,
        "expected_leavers": report.expected_leavers,
        "currency": report.currency,
        "model_version": report.model_version,
    }
    if rated:
        last = rated[-1]
        found |= {
            "last_matured_month": last.observation,
            "logo_churn": last.logo_churn,
            "mrr_churn": last.mrr_churn,
            "logo_churn_voluntary": last.logo_churn_voluntary,
            "logo_churn_involuntary": last.logo_churn_involuntary,
        }
    retained = [month.net_retention for month in report.months if month.net_retention is not None]
    if retained:
        found["net_retention"] = retained[-1]
    return {name: value for name, value in found.items() if value is not None}


def to_json(report: BusinessReport) -> dict[str, Any]:
    """The whole report as a JSON value; unknown figures are null."""
    return {"schema": SCHEMA, **asdict(report)}


def markdown(report: BusinessReport) -> str:
    """The page for people."""
    parts = [
        "# Churn and what it costs",
        _headline(report),
        _months(report),
        _bands(report),
        _top(report),
        _leavers(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(report: BusinessReport) -> str:
    kind = "voluntary " if _kinds(report) else ""
    said = [f"**{report.active_customers:,} active customers**"]
    if report.active_mrr is not None:
        said.append(f"{money(report.active_mrr, report.currency)} monthly revenue")
    if report.revenue_at_risk is not None:
        year = HORIZON_MONTHS * report.active_mrr if report.active_mrr else None
        part = f" ({percent(report.revenue_at_risk / year)} of what they pay in that time)" if year else ""
        said.append(
            f"**{money(report.revenue_at_risk, report.currency)} expected to be lost** over "
            f"{HORIZON_MONTHS:.0f} months to {kind}churn in the next {report.horizon_days} days{part}"
        )
    if report.expected_leavers is not None:
        said.append(f"{report.expected_leavers:,.0f} {kind}leavers expected")
    text = ", ".join(said) + "."
    if report.top_decile_share is not None:
        text += f" The first tenth of the list holds {percent(report.top_decile_share, 0)} of that loss."
    return text


def _kinds(report: BusinessReport) -> bool:
    """Whether somebody left involuntarily: where leaving means inactivity, or a flat file says no more, nobody did."""
    return any(month.involuntary for month in report.months)


def _months(report: BusinessReport) -> str:
    months, kinds = report.months, _kinds(report)
    rated = [month for month in months if month.matured]
    lines = [
        "## By month",
        f"Churn is counted in the {report.horizon_days} days after each date, once every outcome is known.",
    ]
    trend = sparkline([month.logo_churn for month in rated])
    if len(rated) > 1:
        lines.append(f"Logo churn `{trend}` from {_rate(rated[0])} to {_rate(rated[-1])}.")
        lines.append(_chart(rated, kinds))
    rows = [
        [
            month.observation,
            month.customers,
            money(month.mrr, report.currency),
            percent(month.logo_churn_voluntary, 2),
            *([percent(month.logo_churn_involuntary, 2)] if kinds else []),
            percent(month.mrr_churn_voluntary, 2),
            *([percent(month.mrr_churn_involuntary, 2)] if kinds else []),
            percent(month.net_retention),
            percent(month.gross_retention),
        ]
        for month in months
    ]
    headers = [
        "month",
        "customers",
        "MRR",
        *(["logo churn, voluntary", "logo churn, involuntary"] if kinds else ["logo churn"]),
        *(["MRR churn, voluntary", "MRR churn, involuntary"] if kinds else ["MRR churn"]),
        "net MRR retention",
        "gross MRR retention",
    ]
    return "\n\n".join([*lines, table(headers, rows)])


def _rate(month: MonthFigures) -> str:
    return percent(month.logo_churn, 2)


def _chart(rated: list[MonthFigures], kinds: bool) -> str:
    positions = list(range(len(rated)))
    series = [
        Series(
            "voluntary" if kinds else "left",
            positions,
            [100 * (m.logo_churn_voluntary or 0.0) for m in rated],
            points=True,
        )
    ]
    if kinds:
        lost = [100 * (m.logo_churn_involuntary or 0.0) for m in rated]
        series.append(Series("involuntary", positions, lost, points=True))
    top = max(max(s.y) for s in series)
    svg = chart(
        series,
        title="Logo churn, % a month",
        x_label=f"months since {rated[0].observation}",
        y_label="%",
        y_range=(0, top * 1.1 or 1.0),
    )
    return image(svg, "Logo churn by month")


def _bands(report: BusinessReport) -> str:
    if not report.bands:
        return ""
    rows = [
        [
            band.name,
            band.customers,
            money(band.mrr, report.currency),
            f"{band.expected_leavers:,.1f}",
            money(band.revenue_at_risk, report.currency),
        ]
        for band in report.bands
    ]
    return "## By risk\n\n" + table(["band", "customers", "MRR", "expected leavers", "revenue at risk"], rows)


def _top(report: BusinessReport) -> str:
    if not report.top:
        return ""
    rows = [
        [
            r.rank,
            r.customer_id,
            percent(r.probability),
            money(r.mrr, report.currency),
            money(r.expected_loss, report.currency),
            r.risk_band,
            r.reasons,
        ]
        for r in report.top
    ]
    return (
        f"## Whom to call first\n\nBy expected loss, scored by model {report.model_version}. Customers are "
        "shown by pseudonym.\n\n"
        + table(["rank", "customer", "probability", "MRR", "expected loss", "risk", "why"], rows)
    )


def _leavers(report: BusinessReport) -> str:
    if not report.leavers:
        return ""
    rows = [
        [r.observation, r.customers, r.expected, f"{r.low:.0f} to {r.high:.0f}", r.observed, r.inside]
        for r in report.leavers
    ]
    return "## Expected against observed leavers\n\nIn months that the model has not learned from.\n\n" + table(
        ["month", "customers", "expected", "95 % interval", "observed", "inside"], rows, digits=1
    )
