"""Over TLS the certificate must be for the host of the URL, though the connection goes to a pinned address."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from churn_platform import clock
from churn_platform.outlets.kinds import Announcement
from churn_platform.outlets.webhook import Outcome, send
from tests.outlets.receiver import receiver

HOST = "hooks.example.test"
SECRET = "whsec_" + "A" * 43 + "="


class Authority:
    """A certificate authority of our own, and the certificates that it gives."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test authority {folder.name}")])
        made = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment"), False)
        usage |= dict.fromkeys(("data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False)
        made = made.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(self, *names: str) -> ssl.SSLContext:
        """A server's side, with a certificate for these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = self._builder(subject, key.public_key()).add_extension(
            x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
        )
        file = self._folder / "server.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = clock.wall()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this process trusts, as the how-to says: by SSL_CERT_FILE. All names are the loopback address."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))

    async def found(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", found)
    return made


def _send(url: str) -> Outcome:
    told = Announcement("msg_1", "key", "outlet.test", {"outlet": "crm"}, clock.wall())
    return send(told, url, SECRET, clock.wall(), private=True)


def test_a_certificate_for_the_host_is_taken(authority: Authority) -> None:
    context, asked = authority.context(HOST), []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with receiver(context) as hook:
        url = hook.url.replace("127.0.0.1", HOST)
        assert _send(url) == Outcome(True, "answered 204")
    assert asked == [HOST], "a server of many hosts must know which one is asked for"
    ((headers, _),) = hook.received
    assert headers["host"] == url.split("/")[2]


@pytest.mark.parametrize(
    "names", [("127.0.0.1",), ("other.example.test", "127.0.0.1"), ("example.test",), (f"deeper.{HOST}",)]
)
def test_a_certificate_for_another_name_or_for_the_address_is_refused(
    authority: Authority, names: tuple[str, ...]
) -> None:
    with receiver(authority.context(*names)) as hook:
        outcome = _send(hook.url.replace("127.0.0.1", HOST))
    assert not outcome.done
    assert "certificate" in outcome.said.lower()
    assert f"not valid for '{HOST}'" in outcome.said
    assert hook.received == []


def test_an_address_in_the_url_needs_a_certificate_for_it(authority: Authority) -> None:
    with receiver(authority.context("127.0.0.1")) as hook:
        assert _send(hook.url) == Outcome(True, "answered 204")
    with receiver(authority.context(HOST)) as hook:
        outcome = _send(hook.url)
    assert "127.0.0.1" in outcome.said
    assert (outcome.done, hook.received) == (False, [])


def test_an_authority_that_nobody_has_named_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    with receiver(Authority(tmp_path / "another").context(HOST)) as hook:
        outcome = _send(hook.url.replace("127.0.0.1", HOST))
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.said
    assert (outcome.done, hook.received) == (False, [])
