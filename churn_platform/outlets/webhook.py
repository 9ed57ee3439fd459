"""Signed messages over HTTP, as Standard Webhooks asks for them (https://www.standardwebhooks.com)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from churn_platform.errors import ChurnError
from churn_platform.outlets.address import resolve
from churn_platform.outlets.kinds import Announcement
from churn_platform.outlets.schedule import LONGEST

SECONDS: Final = 20.0
"""From the look-up of the name to the answer's status; a receiver should answer first and work after."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        done: the other side has it.
        said: in words.
        asked: seconds that the other side wants to be left alone for.
        gone: it never wants anything again.
    """

    done: bool
    said: str
    asked: float | None = None
    gone: bool = False


def headers(announcement: Announcement, body: str, secret: str, now: datetime) -> dict[str, str]:
    """The headers of a message. The id is the same at every attempt, the time and the signature are the attempt's.

    Args:
        secret: ``whsec_…``.
        now: aware; receivers refuse what is more than some minutes off.
    """
    from standardwebhooks.webhooks import Webhook

    return {
        "webhook-id": announcement.id,
        "webhook-timestamp": str(int(now.timestamp())),
        # The library takes the time's own digits for UTC.
        "webhook-signature": Webhook(secret).sign(announcement.id, now.astimezone(UTC), body),
        "content-type": "application/json",
        "user-agent": "churn-platform",
    }


def send(announcement: Announcement, url: str, secret: str, now: datetime, *, private: bool) -> Outcome:
    """One attempt. Redirects are not followed, no proxy is used, and of the answer only the status is read.

    Args:
        private: whether addresses inside the network are allowed.
    """
    try:
        return asyncio.run(asyncio.wait_for(_send(announcement, url, secret, now, private), SECONDS))
    except TimeoutError:
        return Outcome(False, f"no answer within {SECONDS:.0f} s")
    except ChurnError as error:
        return Outcome(False, str(error))
    except OSError as error:
        return Outcome(False, f"cannot be reached: {error.strerror or error}")


async def _send(announcement: Announcement, url: str, secret: str, now: datetime, private: bool) -> Outcome:
    import httpx

    body = announcement.body()
    to = await resolve(url, private=private)
    sent = {**headers(announcement, body, secret, now), "host": to.host}
    context = ssl.create_default_context()
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=SECONDS, follow_redirects=False) as client:
        request = client.build_request(
            "POST", to.url, content=body.encode(), headers=sent, extensions={"sni_hostname": to.name}
        )
        try:
            answer = await client.send(request, stream=True)
        except httpx.HTTPError as error:
            return Outcome(False, f"cannot be reached: {error or type(error).__name__}")
        await answer.aclose()
    return judged(answer.status_code, answer.headers.get("retry-after"), now)


def judged(status: int, retry_after: str | None, now: datetime) -> Outcome:
    """What a status means: 2xx is received, 410 is never again, all else (redirects too) is tried again."""
    if 200 <= status < 300:
        return Outcome(True, f"answered {status}")
    if status == 410:
        return Outcome(False, "answered 410: it wants no more messages", gone=True)
    redirect = " (redirects are not followed)" if 300 <= status < 400 else ""
    return Outcome(False, f"answered {status}{redirect}", _asked(retry_after, now))


def _asked(retry_after: str | None, now: datetime) -> float | None:
    """Seconds of a ``Retry-After`` header: a number or a date; a day at most, whatever the other side writes."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        # No number of any length is read: who sends a thousand digits wants the longest pause.
        return min(float(text), LONGEST) if len(text) < 10 else LONGEST
    try:
        return min(max(0.0, (parsedate_to_datetime(text) - now).total_seconds()), LONGEST)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
