"""Small Markdown: tables, and SVG charts as data URIs, for reports and for metadata in the Dagster UI.

Charts are plain SVG, legible on light and dark pages, without scripts or outside references.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

PALETTE = ("#2563eb", "#d97706", "#059669", "#7c3aed")
_GREY = "#8a8f98"
_BARS = "▁▂▃▄▅▆▇█"


def cell(value: object, digits: int = 3) -> str:
    """A value as a table cell: numbers short, missing as a dash, pipes and line breaks harmless."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return " ".join(str(value).split()).replace("|", "\\|")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, digits: int = 3) -> str:
    """A Markdown table. Columns whose values are all numbers are set flush right.

    Raises:
        ValueError: for a row of another width than ``headers``.
    """
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells does not fit {len(headers)} headers: {row!r}")
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(headers))
    ]
    lines = [
        "| " + " | ".join(cell(h) for h in headers) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
    ]
    lines += ["| " + " | ".join(cell(value, digits) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage; a dash for None and NaN."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def money(amount: float | None, currency: str = "USD") -> str:
    """A sum of money, rounded to whole units; a dash for None and NaN."""
    return "–" if amount is None or math.isnan(amount) else f"{amount:,.0f} {currency}"


def sparkline(values: Sequence[float | None]) -> str:
    """One character per value, from the lowest to the highest bar; a blank for None and NaN."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    return "".join(
        " "
        if v is None or not math.isfinite(v)
        else _BARS[round((v - low) / span * (len(_BARS) - 1)) if span else len(_BARS) // 2]
        for v in values
    )


def bar(value: float | None, full: float, width: int = 10) -> str:
    """A bar of blocks: ``full`` and more is ``width`` of them; nothing for None and NaN."""
    if value is None or math.isnan(value):
        return ""
    return "█" * round(min(max(value / full, 0.0), 1.0) * width)


def image(svg: str, alt: str) -> str:
    """An SVG as a Markdown image with a data URI."""
    return f"![{alt}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


@dataclass(frozen=True)
class Series:
    """One line of a chart: ``x`` and ``y`` of equal length; points that are not finite are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    points: bool = False


def _ticks(low: float, high: float) -> list[float]:
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10(high - low))
    for factor in (0.2, 0.5, 1.0, 2.0):
        if (high - low) / (step * factor) <= 6:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    width: int = 460,
    height: int = 320,
) -> str:
    """A line chart as SVG text.

    Raises:
        ValueError: if no point is finite, or ``x`` and ``y`` of a series differ in length.
    """
    drawn = [
        (s, [(x, y) for x, y in zip(s.x, s.y, strict=True) if math.isfinite(x) and math.isfinite(y)]) for s in series
    ]
    all_points = [point for _, points in drawn for point in points]
    if not all_points:
        raise ValueError(f"nothing to draw in {title!r}: no finite point")
    x0, x1 = x_range or (min(p[0] for p in all_points), max(p[0] for p in all_points))
    y0, y1 = y_range or (min(p[1] for p in all_points), max(p[1] for p in all_points))
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)
    left, right, top, bottom = 58, 14, 30, 46
    wide, tall = width - left - right, height - top - bottom

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x - x0) / (x1 - x0) * wide, top + tall - (y - y0) / (y1 - y0) * tall

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11" role="img" '
        f"aria-label={quoteattr(title)}>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{left}" y="18" font-size="13" font-weight="600" fill="#1f2937">{escape(title)}</text>',
    ]
    for tick in _ticks(x0, x1):
        px, _ = at(tick, y0)
        out.append(f'<text x="{px:.1f}" y="{top + tall + 15}" text-anchor="middle" fill="{_GREY}">{tick:g}</text>')
    for tick in _ticks(y0, y1):
        _, py = at(x0, tick)
        out.append(f'<path d="M{left} {py:.1f}H{left + wide}" stroke="{_GREY}" opacity=".25"/>')
        out.append(f'<text x="{left - 6}" y="{py + 4:.1f}" text-anchor="end" fill="{_GREY}">{tick:g}</text>')
    out.append(
        f'<text x="{left + wide / 2}" y="{height - 8}" text-anchor="middle" fill="#1f2937">{escape(x_label)}</text>'
    )
    out.append(
        f'<text x="14" y="{top + tall / 2}" text-anchor="middle" fill="#1f2937" '
        f'transform="rotate(-90 14 {top + tall / 2})">{escape(y_label)}</text>'
    )
    solid = 0
    for index, (line, points) in enumerate(drawn):
        colour = _GREY if line.dashed else PALETTE[solid % len(PALETTE)]
        solid += not line.dashed
        path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if line.points:
            for px, py in (at(x, y) for x, y in points):
                out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
        if line.name:
            out.append(
                f'<text x="{left + wide - 4}" y="{top + tall - 8 - 15 * (len(drawn) - 1 - index)}" '
                f'text-anchor="end" fill="{colour}">{escape(line.name)}</text>'
            )
    return "".join(out) + "</svg>"


def calibration_chart(predicted: Sequence[float], observed: Sequence[float], *, title: str = "Calibration") -> str:
    """Mean predicted probability against observed share per bin (shape (k,) each), as a Markdown image."""
    top = max([v for v in (*predicted, *observed) if math.isfinite(v)], default=1.0) or 1.0
    svg = chart(
        [
            Series("perfect", (0, top), (0, top), dashed=True),
            Series("model", predicted, observed, points=True),
        ],
        title=title,
        x_label="predicted probability",
        y_label="observed share",
        x_range=(0, top),
        y_range=(0, top),
    )
    return image(svg, title)


def roc_chart(curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], *, title: str = "ROC") -> str:
    """ROC curves ``(name, false positive rates, true positive rates)``, as a Markdown image."""
    svg = chart(
        [Series("chance", (0, 1), (0, 1), dashed=True), *(Series(name, x, y) for name, x, y in curves)],
        title=title,
        x_label="share of stayers contacted",
        y_label="share of leavers found",
        x_range=(0, 1),
        y_range=(0, 1),
    )
    return image(svg, title)


def lift_chart(share: Sequence[float], lift: Sequence[float], *, title: str = "Lift") -> str:
    """Cumulative lift against the share of customers contacted (shape (k,) each), as a Markdown image."""
    top = max([v for v in lift if math.isfinite(v)], default=1.0)
    svg = chart(
        [Series("no model", (0, 1), (1, 1), dashed=True), Series("model", share, lift)],
        title=title,
        x_label="share of customers contacted, riskiest first",
        y_label="times the base rate",
        x_range=(0, 1),
        y_range=(0, max(top * 1.05, 1.2)),
    )
    return image(svg, title)
