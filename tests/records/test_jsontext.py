import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform.errors import RecordError
from churn_platform.records.jsontext import canonical

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


def shuffled(value: object) -> object:
    """The same value, its dicts filled in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(values)
@settings(max_examples=100, deadline=None)
def test_a_value_has_one_spelling_and_is_read_back(value: object):
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(shuffled(value)) == text
    assert canonical(json.loads(text)) == text


def test_the_spelling_is_sorted_compact_utf_8():
    assert canonical({"b": [1, 2.5, None], "a": "ü\n"}) == '{"a":"ü\\n","b":[1,2.5,null]}'.encode()


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {1: 2}, {"a": {None: 1}}, {"a": object()}, b"x", {1, 2}, "\ud800"]
)
def test_what_json_cannot_say_is_refused(value: object):
    with pytest.raises(RecordError, match="no canonical JSON") as caught:
        canonical(value)
    assert caught.value.mend


def test_a_value_within_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(RecordError):
        canonical(value)
