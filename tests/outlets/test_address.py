"""A webhook does not reach into the network that this machine stands in."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.outlets.address import RefusedAddressError, checked_url, is_public, resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "169.254.169.254", "0.0.0.0",  # noqa: S104
        "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "2002:7f00:0001::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    ],
)  # fmt: skip
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_outside(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_as_what_it_wraps(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))
    assert is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address)))) == is_public(str(address))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com", "example.com/hook", "http://", "https:///x",
        "https://user:word@example.com/", "https://user@example.com/", "http://example.com:99999/", "http://[::1/",
        "https://example.com/#x",
        f"https://{'a' * 64}.example.com/", f"https://{'a.' * 130}com/", "https://exa mple.com/", "https://a..b/",
        "https://xn--a-\u00e4\u2026.example/", "https://" + "\u00fc" * 64 + ".example/", "https://example.com/a\x7fb",
    ],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError) as told:
        checked_url(url)
    assert told.value.mend


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://b\u00fccher.example/hook", "xn--bcher-kva.example"),
        ("https://B\u00dcCHER.example:8443/", "xn--bcher-kva.example:8443"),
        ("https://crm_intern.example./", "crm_intern.example."),
        ("http://[::1]:80/x", "[::1]:80"),
        ("http://127.0.0.1/", "127.0.0.1"),
    ],
)
def test_a_host_is_asked_for_in_ascii(url: str, host: str) -> None:
    assert checked_url(url).netloc == host


@given(st.text(min_size=1, max_size=300))
def test_any_host_is_taken_in_ascii_or_refused(host: str) -> None:
    try:
        parts = checked_url(f"https://{host}/")
    except RefusedAddressError:
        return
    assert str(parts.hostname).encode("ascii")
    str(parts.hostname).encode("idna")  # what getaddrinfo does with it


def _names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    asked: list[str] = []

    async def found(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", found)
    return asked


def test_the_connection_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _names(monkeypatch, "8.8.8.8")
    to = asyncio.run(resolve("https://hooks.example.com/churn?a=1", private=False))
    assert (to.url, to.host, to.name) == ("https://8.8.8.8:443/churn?a=1", "hooks.example.com", "hooks.example.com")
    assert asked == ["hooks.example.com"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, "8.8.8.8", "169.254.169.254")
    with pytest.raises(RefusedAddressError, match=r"169\.254\.169\.254") as told:
        asyncio.run(resolve("https://hooks.example.com/", private=False))
    assert "CHURN_OUTLET_PRIVATE_ADDRESSES" in told.value.mend
    assert asyncio.run(resolve("https://hooks.example.com/", private=True)).name == "hooks.example.com"


def test_a_port_stays_in_the_host_header(monkeypatch: pytest.MonkeyPatch) -> None:
    _names(monkeypatch, "2606:4700::1111")
    to = asyncio.run(resolve("http://hooks.example.com:8080/x", private=False))
    assert (to.url, to.host) == ("http://[2606:4700::1111]:8080/x", "hooks.example.com:8080")
