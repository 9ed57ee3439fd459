"""Names of columns that hold the outcome or were written after it: inference leaves them out, the leak gate refuses."""

from __future__ import annotations

import re
from typing import Literal

Meaning = Literal["label", "score", "written", "end"]

_STEM = re.compile(r"(churn|attrit|cancel|exit|terminat|leav(ing|er)|offboard)")
_LABEL = re.compile(
    r"(is|has|did|customer|account|user)?(churn(ed|er)?|attrition|attrited|exited|cancell?ed|terminated|defected|hasleft)"
    r"(flag|label|status|value|yn|ind|indicator)?"
)
_WRITTEN = frozenset(("reason", "category", "type", "comment", "feedback", "survey", "competitor", "note"))
"""Words that, with one of leaving, name what is written down when somebody leaves."""
_SCORES = frozenset(("score", "prob", "probability", "risk", "propensity", "rank", "decile", "prediction", "predicted"))
_RATED = frozenset(("health", "risk", "retention"))
_TIMES = frozenset(("at", "on", "date", "day", "time", "ts", "timestamp"))
_ENDS = frozenset(("end", "ended", "ends", "closed", "closing", "stopped", "left"))
_TOGETHER = re.compile(
    r"(churn(ed)?|attrition|cancel(ed|led|lation)?|exit|termination)"
    r"(?P<what>reason|category|date|day|month|time|type|comment|score|prob(ability)?|risk)s?"
    r"|(?P<rated>health|risk|retention)(score|rating|index)|(?P<end>end|ended|closed)(at|date|time)"
)
"""Names without anything between their words."""
_PLANNED = re.compile(r"contract|term(s|end)|trial|renew|plan|due|expir|next|valid|schedul|until|period|commit")
"""Words of times that lie in the future by their nature."""
_VAGUE = frozenset(
    (
        "score",
        "scores",
        "risk",
        "rank",
        "prob",
        "probability",
        "propensity",
        "prediction",
        "predicted",
        "decile",
        "reason",
    )
)
"""Names that say nothing of leaving, but often stand for it."""


def meaning(name: str) -> Meaning | None:
    """What a column's name says that it is: label, score, written (when one leaves), end; None: nothing of that."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower())
    joined, all_words = "".join(words), set(words)
    leaving = any(_STEM.match(word) for word in words)
    together = _TOGETHER.fullmatch(joined)
    if _LABEL.fullmatch(joined):
        return "label"
    said = (together.group("what") or "") if together else ""
    rated = (all_words & _RATED and all_words & {"score", "rating", "index"}) or (together and together["rated"])
    if rated or (leaving and all_words & _SCORES) or said in ("score", "prob", "probability", "risk"):
        return "score"
    if words[:1] in (["predicted"], ["prediction"]) or joined.startswith("naivebayes"):
        return "score"
    if said or (leaving and len(words) > 1 and (words[-1] in {*_TIMES, "month"} or all_words & _WRITTEN)):
        return "written"
    ends = len(words) > 1 and words[-1] in _TIMES and words[-2] in _ENDS
    return "end" if (ends or (together and together["end"])) and not planned(name) else None


def planned(name: str) -> bool:
    """Whether the name is that of a time which lies ahead by its nature, such as a renewal or a due date."""
    return _PLANNED.search(re.sub(r"[^a-z0-9]", "", name.lower())) is not None


def vague(name: str) -> bool:
    """Whether the whole name is a word such as score or risk, which may or may not be that of leaving."""
    return re.sub(r"[^a-z0-9]", "", name.lower()) in _VAGUE
