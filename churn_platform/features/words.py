"""Plain words from a company's column names: what people read in reasons and reports."""

from __future__ import annotations

from itertools import pairwise


def plain_words(source: str) -> str:
    """A column's name as people would write it: the company's own letters, its words set apart.

    A name with blanks is taken as it stands. In others ``_``, ``-`` and ``.`` stand for blanks, and a capital after a
    small letter begins a word: ``MonthlyCharges`` becomes "Monthly Charges", ``größe_des_vertrags`` "größe des
    vertrags", ``NPSScore`` "NPS Score". Case is left alone: NPS, iOS and Kündigung are what the company calls them.
    """
    text = " ".join(source.split())
    if " " in text or not text:
        return text
    for mark in "_-.":
        text = text.replace(mark, " ")
    words = (part for word in text.split() for part in _camel(word))
    return " ".join(words) or source


def _camel(word: str) -> list[str]:
    """The words of a name such as ``MonthlyCharges``; a single small letter before a capital stays (iOS, eMail)."""
    cuts = [0]
    for at, (before, letter) in enumerate(pairwise(word), start=1):
        following = word[at + 1 : at + 2]
        begins = letter.isupper() and (before.islower() or (before.isdigit() and following.islower()))
        ends_capitals = letter.isupper() and before.isupper() and following.islower()
        if (begins or ends_capitals) and at - cuts[-1] > 1:
            cuts.append(at)
    return [word[start:end] for start, end in pairwise([*cuts, len(word)])]
