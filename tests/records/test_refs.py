import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform.errors import ArtifactMissingError, RecordError
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs

DIGEST = "ab" * 32
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
parts = names.filter(lambda name: "/" not in name)
assets = st.lists(parts, min_size=1, max_size=3).map("/".join)
tricky = st.sampled_from(["a", "a/b", "a/b.json", "b", "b.json", ".", "..", "@", ".tmp-1", "%40", "a%2Fb"])


@pytest.fixture
def refs(home: Home) -> Refs:
    return Refs(home.refs)


@given(st.dictionaries(st.tuples(assets | tricky, st.none() | names | tricky), st.integers(), max_size=8))
@settings(max_examples=25, deadline=None)
def test_every_partition_of_every_asset_has_a_reference_of_its_own(values: dict[tuple[str, str | None], int]):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "refs"
        refs = Refs(root)
        for (asset, partition), number in values.items():
            refs.set(asset, partition, {"digest": DIGEST, "number": number})
        for (asset, partition), number in values.items():
            assert refs.get(asset, partition) == {"digest": DIGEST, "number": number}
            assert refs.partitions(asset) == sorted(p for a, p in values if a == asset and p is not None)
        assert sum(path.is_file() for path in root.rglob("*")) == len(values)
        assert [path.name for path in Path(folder).iterdir()] in ([], ["refs"])


def test_the_layout_is_plain_for_plain_names(refs: Refs, home: Home):
    refs.set("sources/usage", "2024-03-01", {"digest": DIGEST})
    refs.set("challenger", None, {"digest": DIGEST})
    assert json.loads((home.refs / "sources" / "usage" / "2024-03-01.json").read_text()) == {"digest": DIGEST}
    assert (home.refs / "challenger" / "@.json").exists()


def test_the_last_writer_wins(refs: Refs):
    refs.set("a", "p", {"digest": DIGEST, "n": 1})
    refs.set("a", "p", {"digest": DIGEST, "n": 2})
    assert refs.get("a", "p")["n"] == 2
    assert refs.partitions("a") == ["p"]


def test_what_is_not_there_names_the_asset_to_materialize(refs: Refs):
    assert refs.find("customer_features", "2024-03-01") is None
    assert refs.partitions("customer_features") == []
    with pytest.raises(ArtifactMissingError, match="customer_features for 2024-03-01") as caught:
        refs.get("customer_features", "2024-03-01")
    assert "customer_features" in caught.value.mend
    with pytest.raises(ArtifactMissingError, match="no challenger yet"):
        refs.get("challenger")


@pytest.mark.parametrize("value", [{}, {"digest": None}, {"digest": "xyz"}, {"digest": DIGEST.upper()}])
def test_a_reference_without_a_digest_is_refused(refs: Refs, value: dict[str, object]):
    with pytest.raises(RecordError, match="names no artifact") as caught:
        refs.set("a", None, value)
    assert caught.value.field == "digest"


@pytest.mark.parametrize(
    ("asset", "partition"),
    [("", "p"), ("/a", "p"), ("a//b", None), ("a/", "p"), ("a", ""), ("a", "p" * 251), ("a" * 256, None)],
)
def test_names_that_cannot_be_are_refused(refs: Refs, asset: str, partition: str | None):
    with pytest.raises(RecordError):
        refs.set(asset, partition, {"digest": DIGEST})
    with pytest.raises(RecordError):
        refs.find(asset, partition)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_file_is_an_error_not_an_absence(refs: Refs, home: Home, text: str):
    refs.set("a", "p", {"digest": DIGEST})
    (home.refs / "a" / "p.json").write_text(text)
    with pytest.raises(RecordError, match="cannot be read") as caught:
        refs.find("a", "p")
    assert not isinstance(caught.value, ArtifactMissingError)


def test_readers_see_whole_references_while_others_write(refs: Refs):
    def write(n: int) -> None:
        refs.set("a", "p", {"digest": DIGEST, "text": str(n % 10) * 5000})

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, n) for n in range(60)]
        while not all(writer.done() for writer in writers):
            text = refs.get("a", "p")["text"]
            assert text == text[0] * 5000
        for writer in writers:
            writer.result()
