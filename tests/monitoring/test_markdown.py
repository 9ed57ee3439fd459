"""Tables and charts: what a reader and a parser see."""

from __future__ import annotations

import base64
import math
from xml.etree import ElementTree

import pytest

from churn_platform.monitoring import markdown as md


def svg_of(image: str) -> ElementTree.Element:
    encoded = image.split("base64,")[1].rstrip(")")
    return ElementTree.fromstring(base64.b64decode(encoded))  # noqa: S314 - our own text


def test_bar() -> None:
    assert [md.bar(value, 0.5) for value in (0.0, 0.25, 0.5, 9.0, None, math.nan)] == [
        "", "█████", "█" * 10, "█" * 10, "", "",
    ]  # fmt: skip


def test_table() -> None:
    text = md.table(["name", "n", "p"], [["a|b\nc", 1234, 0.12345], ["d", None, math.nan]])
    assert text.splitlines() == [
        "| name | n | p |",
        "|---|---:|---:|",
        "| a\\|b c | 1,234 | 0.123 |",
        "| d | – | – |",
    ]
    with pytest.raises(ValueError, match="does not fit"):
        md.table(["one"], [[1, 2]])


def test_figures_in_words() -> None:
    assert md.percent(0.1234) == "12.3 %"
    assert md.percent(None) == "–"
    assert md.money(1234.6, "EUR") == "1,235 EUR"
    assert md.money(math.nan) == "–"
    assert md.cell(True) == "yes"


def test_sparkline() -> None:
    assert md.sparkline([0, 1, None, 2]) == "▁▅ █"
    assert md.sparkline([5, 5]) == "▅▅"
    assert md.sparkline([None, math.nan]) == ""


def test_chart_is_well_formed_and_stays_inside() -> None:
    svg = md.chart(
        [
            md.Series("a & <b>", [0, 1, 2], [0.0, math.nan, 4.0], points=True),
            md.Series("", [0, 2], [1, 1], dashed=True),
        ],
        title='quoted "title" & more',
        x_label="x < y",
        y_label="y",
    )
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f"{space}polyline")
    assert len(lines) == 2
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.attrib["points"].split()]
    assert len(points) == 4, "the point that is not finite is left out"
    assert all(0 <= x <= 460 and 0 <= y <= 320 for x, y in points)
    assert points[0][1] > points[1][1], "larger values are higher up"
    with pytest.raises(ValueError, match="nothing to draw"):
        md.chart([md.Series("a", [0], [math.nan])], title="t", x_label="", y_label="")


def test_the_three_charts_of_an_evaluation() -> None:
    for image in (
        md.calibration_chart([0.01, 0.05, 0.2], [0.012, 0.04, 0.22]),
        md.roc_chart([("model", [0, 0.1, 1], [0, 0.7, 1]), ("recency rule", [0, 0.5, 1], [0, 0.6, 1])]),
        md.lift_chart([0.1, 0.5, 1], [4, 1.6, 1]),
    ):
        assert image.startswith("![")
        assert svg_of(image).tag.endswith("svg")
        assert "\n" not in image
