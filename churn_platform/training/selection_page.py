"""The choice of generated features, as a page for people."""

from __future__ import annotations

from collections import Counter

from churn_platform.training.selection import Selection, Stage, Verdict

STAGES: dict[Stage, str] = {
    "cost": "would cost too much to make each month",
    "nulls": "say nothing: unknown, or the same, for almost everybody",
    "redundancy": "say what another one says",
    "stability": "move from month to month by themselves",
    "importance": "do not help to foretell later months",
    "kept": "kept",
}


def page(selection: Selection) -> str:
    """Markdown: how many fell where, what the kept ones are, and a row with the reason for every candidate."""
    lines = ["# Generated features", ""]
    if selection.note:
        lines += [selection.note, ""]
    if selection.months:
        first, last = selection.months[0], selection.months[-1]
        lines += [
            f"Chosen on the {len(selection.months)} training months from {first} to {last}. No month that judges a "
            "model was read.",
            "",
        ]
    counts = Counter(verdict.stage for verdict in selection.verdicts)
    lines += ["| candidates | what became of them |", "| ---: | --- |"]
    lines += [f"| {counts[stage]} | {words} |" for stage, words in STAGES.items() if counts[stage]]
    lines.append("")
    if selection.losses:
        lines += ["| generated features | log loss of later months |", "| ---: | ---: |"]
        lines += [
            f"| {size} | {loss:.5f} |" for size, loss in sorted(selection.losses.items(), key=lambda p: int(p[0]))
        ]
        lines.append("")
    if selection.carried:
        lines += [f"Made all the same, since the champion in force reads them: {', '.join(selection.carried)}.", ""]
    kept = [verdict for verdict in selection.verdicts if verdict.stage == "kept"]
    if kept:
        lines += ["## Kept", "", *_table(kept), ""]
    fallen = [verdict for verdict in selection.verdicts if verdict.stage != "kept"]
    if fallen:
        lines += ["## Not kept", "", *_table(fallen), ""]
    return "\n".join(lines)


def _table(verdicts: list[Verdict]) -> list[str]:
    rows = [
        f"| `{one.name}` | {_cell(one.label)} | {one.template} | {_figures(one)} | {_cell(one.reason)} |"
        for one in sorted(verdicts, key=lambda v: -v.figures.get("gain", 0.0))
    ]
    return ["| candidate | in words | kind | measured | why |", "| --- | --- | --- | --- | --- |", *rows]


def _figures(verdict: Verdict) -> str:
    words = {"null_share": "null", "auc": "AUC alone", "psi": "PSI", "gain": "gain", "alike": "alike", "cost": "cost"}
    return ", ".join(f"{words[name]} {value:.3g}" for name, value in verdict.figures.items() if name in words)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
