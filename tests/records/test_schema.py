import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform.errors import RecordError
from churn_platform.records.schema import check_schema, schema_tag

names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
versions = st.integers(1, 10**9 - 1)


@given(names, versions)
@settings(max_examples=50, deadline=None)
def test_a_tag_is_read_back(name: str, version: int):
    tag = schema_tag(name, version)
    assert tag == f"{name}/{version}"
    assert check_schema(tag, name, {version}) == version
    assert check_schema({"schema": tag, "more": 1}, name, {version, 1}) == version


@pytest.mark.parametrize(("name", "version"), [("Tree", 1), ("", 1), ("tree", 0), ("tree", True), ("a/b", 1)])
def test_a_tag_of_a_wrong_form_is_not_made(name: str, version: int):
    with pytest.raises(ValueError, match="snake case"):
        schema_tag(name, version)


@pytest.mark.parametrize("value", [None, {}, [], 1, {"schema": 1}, {"schema": "tree"}, "tree/01", "tree/0", "tree/1\n"])
def test_a_record_without_a_schema_is_refused(value: object):
    with pytest.raises(RecordError, match="no schema") as caught:
        check_schema(value, "tree", (1, 2))
    assert '"tree/2"' in caught.value.mend


def test_another_schema_is_refused():
    with pytest.raises(RecordError, match="is a forest, where a tree was expected"):
        check_schema({"schema": "forest/1"}, "tree", (1,))


def test_a_version_that_cannot_be_read_says_which_release_can():
    with pytest.raises(RecordError, match=r"tree/3.*version 1, 2") as caught:
        check_schema({"schema": "tree/3"}, "tree", (2, 1))
    assert "newer" in caught.value.mend
    with pytest.raises(RecordError, match="tree/1") as caught:
        check_schema({"schema": "tree/1"}, "tree", (2,))
    assert "churn migrate" in caught.value.mend
