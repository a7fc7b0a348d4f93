"""HTTP to one memrelay service: what fails for a moment is repeated, what is wrong becomes an error of ours.

Everything sent through here may be repeated: reads change nothing, writes carry an Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from memrelay import __version__
from memrelay.client.answers import Answer
from memrelay.errors import (
    ApiError,
    ConfigError,
    Conflict,
    Denied,
    InvalidInput,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    Transient,
    Unavailable,
)
from memrelay.retry import Backoff

DEFAULT_URL = "http://127.0.0.1:8700"
SILENCE = 45.0
"""Seconds without a byte of a stream, which has a comment at least every 15."""
BACKOFF = Backoff(first=0.1, longest=5.0)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KINDS: Mapping[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}
_LOGIN = re.compile(r"(^|//).*@")
_UNSENDABLE = re.compile(r"[^!-~]")

type Check = Callable[[httpx.Response], None]


class Http:
    """One pool of connections, for one event loop.

    ``timeout``: seconds without a byte after which a request counts as failed. ``patience``: seconds
    after which a call is not repeated any more. ``transport``: how requests travel, as httpx has it.
    """

    def __init__(
        self,
        url: str | None,
        *,
        api_key: str | None,
        timeout: float,
        patience: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = _checked(url or os.environ.get("MEMRELAY_URL") or DEFAULT_URL)
        self.patience = patience
        self._timeout = timeout
        self._random = Random()
        key = _sendable(api_key or os.environ.get("MEMRELAY_API_KEY") or "")
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"User-Agent": f"memrelay/{__version__}"}
            | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=timeout,
            transport=transport,
            verify=self.url.startswith(
                "https:"
            ),  # else loading the certificates is 0.2 s for nothing
            trust_env=httpx.URL(self.url).host not in LOOPBACK,  # no proxy reaches our loopback
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        check: Check | None = None,
    ) -> httpx.Response:
        """The answer, a success that ``check`` did not object to.

        ``wait`` are the seconds that the service was asked to hold the answer back. Raises
        ``Unavailable`` or an ``ApiError`` once repeating is useless or ``patience`` has run out.
        """
        request = self._client.build_request(
            method,
            path,
            params=params,
            json=json,
            content=content,
            headers=headers,
            timeout=self._timeout + wait,
        )
        deadline = time.monotonic() + self.patience
        attempt = 1
        while True:
            try:
                return await self._once(request, check)
            except (Unavailable, RateLimited, ServiceUnavailable) as error:
                asked = Transient(str(error), retry_after=error.retry_after)
                delay = BACKOFF.delay(attempt, asked, self._random)
                if time.monotonic() + delay > deadline:
                    raise
                attempt += 1
                await asyncio.sleep(delay)

    async def fetch[A: Answer](self, kind: type[A], method: str, path: str, **options: Any) -> A:
        """``request``, with the answer read as ``kind``."""
        return self.read(kind, await self.request(method, path, **options))

    @asynccontextmanager
    async def lines(self, path: str) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer as they come. Errors as of ``request``, but at once."""
        timeout = max(self._timeout, SILENCE)
        request = self._client.build_request("GET", path, timeout=timeout)
        try:
            response = await self._client.send(request, stream=True)
            try:
                if not response.is_success:
                    await response.aread()
                    raise self._error(response)
                yield response.aiter_lines()
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            raise self._unreachable(error) from error

    async def probe(self, path: str) -> httpx.Response:
        """The answer to one GET, whatever its status; ``Unavailable`` if there is none."""
        return await self._send(self._client.build_request("GET", path))

    def read[A: Answer](self, kind: type[A], response: httpx.Response) -> A:
        """The body as ``kind``; ``ApiError`` if something else than memrelay answered."""
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise ApiError(response.status_code, self._stranger()) from None

    async def _once(self, request: httpx.Request, check: Check | None) -> httpx.Response:
        response = await self._send(request)
        if not response.is_success:
            raise self._error(response)
        if check is not None:
            check(response)
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request)
        except httpx.RequestError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.RequestError) -> Unavailable:
        reason = str(error) or type(error).__name__
        return Unavailable(
            f"cannot reach memrelay at {place_of(self.url)} ({reason}): is it running? "
            "MEMRELAY_URL says where to look"
        )

    def _error(self, response: httpx.Response) -> ApiError:
        return api_error(
            response.status_code,
            _problem(response) or self._stranger(response.status_code),
            retry_after=_retry_after(response),
        )

    def _stranger(self, status: int | None = None) -> dict[str, Any]:
        said = "" if status is None else f" (HTTP {status})"
        return {
            "code": "not_memrelay",
            "detail": f"{place_of(self.url)} does not answer as memrelay{said}",
        }


def api_error(
    status: int, problem: dict[str, Any], *, retry_after: float | None = None
) -> ApiError:
    """The error of a status: its class decides what happens next."""
    return _KINDS.get(status, ApiError)(status, problem, retry_after=retry_after)


def segment(id: str) -> str:
    """``id`` as one segment of a path; dots too, so that no one takes ``..`` for a step up."""
    if not id:
        raise InvalidInput("an id is not empty", pointer="/id")
    return quote(id, safe="").replace(".", "%2E")


def given(**fields: Any) -> dict[str, Any]:
    """Without what the caller left out, so that the service's own defaults hold."""
    return {name: value for name, value in fields.items() if value is not None}


def place_of(url: str) -> str:
    """An address as it may be shown: without the login that it may hold."""
    return _LOGIN.sub(r"\1", url)


def _sendable(key: str) -> str:
    """``key``; one that no header can carry would be quoted by the error that says so."""
    if _UNSENDABLE.search(key):
        raise ConfigError(
            "the API key has blanks, line breaks or letters that no key has (MEMRELAY_API_KEY)"
        )
    return key


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            f"{place_of(url)!r} is not an address of a service, such as {DEFAULT_URL} (MEMRELAY_URL)"
        )
    return url.rstrip("/")


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem+json of an answer; empty if it has none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) and "code" in body else {}


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, given as such or as a date."""
    given = response.headers.get("retry-after", "")
    try:
        if given.isdigit():
            return float(given)
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
