"""Tables in a bucket: a real S3 server process; objects that have not changed are not read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from churn_platform.errors import ContractError, SourceError, SourceMissingError
from churn_platform.sources.contract import Contract, dump_contract, parse_contract, plain
from churn_platform.sources.infer import infer_contract
from churn_platform.sources.location import SourceLocation
from churn_platform.sources.readers_extract import Loaded
from churn_platform.sources.readers_s3 import file_system, list_objects
from churn_platform.sources.readers_url import SourceUrl, parse_source
from churn_platform.sources.remote import bring, opened
from tests.sources import company
from tests.sources.bucket import ask, client, s3_server
from tests.sources.conftest import Door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")
URL = SourceUrl("s3://company/raw")
pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_NO_SIGN_REQUEST", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-key")


@pytest.fixture
def bucket(server: str, environment: None, tmp_path: Path) -> Path:
    """The company in ``s3://company/raw``; yields the same files in a folder."""
    folder = company.write(company.frames(), tmp_path / "files")
    ask(server, "POST", "/moto-api/reset")
    client(server).create_dir("company")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(server, path.relative_to(folder).as_posix(), path.read_bytes())
    put(server, "_SUCCESS", b"")
    put(server, "usage/.crc", b"no table")
    return folder


def put(server: str, key: str, content: bytes) -> None:
    with client(server).open_output_stream(f"company/raw/{key}") as stream:
        stream.write(content)


def _objects(contract: Contract, prefix: str = "s3://company/raw") -> Contract:
    value: dict[str, Any] = plain(contract)
    for table in value["tables"].values():
        table["path"] = f"{prefix}/{table['path']}"
    return parse_contract(value)


def test_objects_and_files_give_the_same_digests(door: Door, tmp_path: Path, bucket: Path) -> None:
    contract = company.contract()
    expected = door.admit(contract, bucket, MONTHS)
    loaded = bring(contract, URL, tmp_path / "extract")
    assert {name: (load.mode, load.fetched) for name, load in loaded.items()} == {
        "accounts": ("full", 1), "subscriptions": ("full", 1), "usage": ("full", len(list(bucket.glob("usage/*")))),
        "tickets": ("full", 1), "churn_events": ("full", 1),
    }  # fmt: skip
    found = door.admit(contract, tmp_path / "extract", MONTHS)
    assert found.digests == expected.digests
    # the tables' own paths may be URLs as well; the source is then a folder, in which other tables may be
    whole = _objects(contract)
    bring(whole, tmp_path, tmp_path / "second")
    assert door.admit(whole, tmp_path / "second", MONTHS).digests == expected.digests


def test_unchanged_objects_are_not_read_again(
    tmp_path: Path, server: str, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_platform.sources import readers_s3

    read: list[str] = []
    download = readers_s3.download

    def counted(files: Any, key: str, target: Path) -> None:
        read.append(key)
        download(files, key, target)

    monkeypatch.setattr(readers_s3, "download", counted)
    contract, root = company.contract(), tmp_path / "extract"
    bring(contract, URL, root)
    first = len(read)
    assert {load.mode for load in bring(contract, URL, root).values()} == {"unchanged"}
    assert len(read) == first

    content = (bucket / "usage" / "2024-03.parquet").read_bytes()
    # the same size, other bytes: only the ETag tells
    put(server, "usage/2024-03.parquet", content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    put(server, "usage/2024-12.parquet", content)
    client(server).delete_file("company/raw/usage/2024-01.parquet")
    loaded = bring(contract, URL, root)
    assert loaded.pop("usage") == Loaded("usage", "changed", 2, deleted=2)
    assert {load.mode for load in loaded.values()} == {"unchanged"}
    assert read[first:] == ["company/raw/usage/2024-03.parquet", "company/raw/usage/2024-12.parquet"]
    assert len(list((root / "usage").iterdir())) == len(list(bucket.glob("usage/*")))


def test_a_contract_may_mix_files_and_objects(door: Door, tmp_path: Path, bucket: Path) -> None:
    value: dict[str, Any] = plain(company.contract())
    value["tables"]["usage"]["path"] = "s3://company/raw/usage/*.parquet"
    contract = parse_contract(value)
    expected = door.admit(company.contract(), bucket, MONTHS)
    with pytest.raises(SourceMissingError, match="has not been brought to this machine"):
        door.admit(contract, bucket, MONTHS)
    loaded = bring(contract, bucket, tmp_path / "extract")
    assert set(loaded) == {"usage"}
    assert door.admit(contract, tmp_path / "extract", MONTHS).digests == expected.digests


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("usage", ["2024-01", "2024-02"]),
        ("usage/", ["2024-01", "2024-02"]),
        ("usage/*.parquet", ["2024-01", "2024-02"]),
        ("*/2024-0[2-9].parquet", ["2024-02"]),
        ("**/2024-01.*", ["2024-01"]),
        ("usage/2024-01.parquet", ["2024-01"]),
        ("*.parquet", []),
    ],
)
def test_prefixes_and_globs(server: str, environment: None, path: str, found: list[str]) -> None:
    ask(server, "POST", "/moto-api/reset")
    client(server).create_dir("company")
    for name in ("usage/2024-01.parquet", "usage/2024-02.parquet", "usage/.hidden.parquet"):
        put(server, name, b"x")
    keys = list_objects(file_system(), f"s3://company/raw/{path}")
    assert keys == [f"company/raw/usage/{name}.parquet" for name in found]


def test_infer_and_check(tmp_path: Path, bucket: Path) -> None:
    from churn_platform.cli.main import app

    found = infer_contract(URL)
    assert found.contract.source == URL.text
    assert found.contract.tables["accounts"].path == "accounts.parquet"
    assert found.contract.tables["usage"].path == "usage"
    runner, stated = CliRunner(), tmp_path / "contract.yaml"
    stated.write_text(dump_contract(company.contract()))
    checked = runner.invoke(app, ["contract", "check", URL.text, "--contract", str(stated)])
    assert checked.exit_code == 0, checked.output
    with opened(URL.text) as (folder, contract):
        assert contract == found.contract
        left = folder
    assert not left.exists()


def _fails(contract: Contract, url: SourceUrl, root: Path) -> SourceError:
    with pytest.raises(SourceError) as raised:
        bring(contract, url, root)
    assert raised.value.mend
    assert "\n" not in str(raised.value)
    assert "s3cr3t" not in str(raised.value)
    return raised.value


def test_errors_say_what_to_mend(tmp_path: Path, server: str, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract, root = company.contract(), tmp_path / "extract"
    assert "There is no bucket 'none'" in str(_fails(contract, SourceUrl("s3://none/raw"), root))
    elsewhere = SourceUrl("s3://company/elsewhere")
    assert "There is nothing at s3://company/elsewhere/accounts.parquet" in str(_fails(contract, elsewhere, root))
    with pytest.raises(SourceMissingError, match="There is nothing at s3://company/elsewhere"):
        infer_contract(elsewhere)
    client(server).delete_file("company/raw/tickets.csv")
    assert "tickets.csv" in str(_fails(contract, URL, root))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "http://127.0.0.1:1" in str(_fails(contract, URL, root))
    with pytest.raises(ContractError, match="holds a secret") as raised:
        parse_source("s3://key:s3cr3t@company/raw")
    assert "s3cr3t" not in str(raised.value)


def test_keys_that_are_refused(tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "1")  # the bucket is not public
    error = _fails(company.contract(), URL, tmp_path / "extract")
    assert "may not be read with the keys that are set" in str(error)
    assert "AWS_ACCESS_KEY_ID" in error.mend


def test_rates_in_a_bucket(door: Door, tmp_path: Path, server: str, bucket: Path) -> None:
    text = "date,currency,rate\n2024-01-01,EUR,1.1\n2024-03-01,EUR,1.3\n"
    for name in ("2024-01", "2024-03"):
        lines = [line for line in text.splitlines() if not line[:1].isdigit() or line.startswith(name)]
        (bucket / "rates").mkdir(exist_ok=True)
        (bucket / "rates" / f"{name}.csv").write_text("\n".join(lines) + "\n")
        put(server, f"rates/{name}.csv", (bucket / "rates" / f"{name}.csv").read_bytes())
    value: dict[str, Any] = plain(company.contract())
    value["rates"] = {"path": "rates"}
    value["tables"]["subscriptions"]["currency"] = "EUR"
    contract = parse_contract(value)
    expected = door.admit(contract, bucket, MONTHS)
    assert expected.digests["subscriptions"] != door.admit(company.contract(), bucket, MONTHS).digests["subscriptions"]
    root = tmp_path / "extract"
    assert bring(contract, URL, root)["rates"].fetched == 2
    assert door.admit(contract, root, MONTHS).digests == expected.digests

    location = SourceLocation(root, contract, dump_contract(contract), tmp_path)
    before = location.fingerprints()
    put(server, "rates/2024-04.csv", b"date,currency,rate\n2024-04-01,EUR,1.4\n")
    assert bring(contract, URL, root)["rates"] == Loaded("rates", "changed", 1)
    after = location.fingerprints()
    assert [name for name in before if before[name] != after[name]] == ["subscriptions"]
    changed = door.admit(contract, root, MONTHS)
    assert changed.digests["subscriptions"]["2024-04-01"] == expected.digests["subscriptions"]["2024-04-01"]
    assert changed.digests["subscriptions"]["2024-06-01"] != expected.digests["subscriptions"]["2024-06-01"]
