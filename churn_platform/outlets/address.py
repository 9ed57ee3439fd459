"""Where a webhook may go: http and https, and no address inside the network unless that is allowed.

Whoever may add an outlet could otherwise let this machine call services that trust it (server-side request forgery).
The name is resolved once and the connection goes to the address that was looked at, so that a name cannot be pointed
elsewhere between the look and the call.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from churn_platform.errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# RFC 1035, and the underscore that names inside networks have.
_NAME: Final = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)


class RefusedAddressError(ConfigurationError):
    code, title = "refused-address", "A webhook may not go there"


@dataclass(frozen=True)
class Endpoint:
    """A URL and the address that it goes to.

    Attributes:
        url: with the address in place of the name.
        host: the ``Host`` header: name, and port where the URL has one.
        name: for TLS: what the certificate must be for.
    """

    url: str
    host: str
    name: str


def checked_url(url: str) -> SplitResult:
    """The parts of a webhook's URL, in ASCII: an internationalised host as it is asked for (``xn--…``, IDNA 2008).

    Raises:
        RefusedAddressError: another scheme, no host or none that there can be, or a user and password in it.
    """
    import httpx

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _refused(f"{url!r} is no URL: {error}", "Give one such as https://example.com/hooks/churn.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refused(f"{url!r} is no http or https URL", "Give one such as https://example.com/hooks/churn.")
    if parts.username or parts.password:
        raise _refused("The URL carries a user or password", "Leave them out: every message is signed.")
    if parts.fragment:
        raise _refused("The URL carries a fragment (#…)", "Leave it out: it is never sent.")
    try:
        host = httpx.URL(url).raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused(f"{url[:200]!r} is no URL: {error}", "Mend its host or its characters.") from error
    if ":" in host:
        host = f"[{host}]"
    elif not _NAME.fullmatch(host):
        raise _refused(
            f"{host[:200]!r} is no name of a host", "Give one whose parts have 1 to 63 letters, digits and hyphens."
        )
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}")


def is_public(text: str) -> bool:
    """Whether an address is out on the Internet. One that wraps another (mapped, 6to4, Teredo, NAT64) is as that is."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        wrapped: Address | None = address.ipv4_mapped or address.sixtofour
        if wrapped is None and address.teredo is not None:
            wrapped = address.teredo[1]
        if wrapped is None and address in ipaddress.ip_network("64:ff9b::/96"):
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
    return address.is_global and not address.is_multicast


async def resolve(url: str, *, private: bool) -> Endpoint:
    """The address that a message goes to.

    Args:
        private: whether addresses inside the network are allowed.

    Raises:
        RefusedAddressError: any address of that name is not out on the Internet, and such are not allowed.
        OSError: the name is not known.
    """
    parts = checked_url(url)
    name = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    inside = [address for address in addresses if not is_public(address)]
    if inside and not private:
        raise _refused(
            f"{name} is {inside[0]}, an address inside this network",
            "Give an address out on the Internet, or set CHURN_OUTLET_PRIVATE_ADDRESSES=true.",
        )
    address = addresses[0]
    literal = f"[{address}]" if ":" in address else address
    host = f"[{name}]" if ":" in name else name
    return Endpoint(
        url=parts._replace(netloc=f"{literal}:{port}").geturl(),
        host=host if parts.port is None else f"{host}:{parts.port}",
        name=name,
    )


def _refused(message: str, mend: str) -> RefusedAddressError:
    return RefusedAddressError(f"{message}.", mend=mend, field="target")
