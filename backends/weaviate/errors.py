"""The client's exceptions as memrelay's: the only place that knows them.

``Unavailable``: the server refuses everybody, or cannot be reached. ``Transient``: this call may be
repeated. ``Permanent``: repeating is useless. Weaviate reports most of its troubles, a full disk as much
as a missing tenant, as gRPC ``UNKNOWN`` with a text: those are ``Transient``, and attempts are bounded.

An object of a batch that is refused comes with a text alone. What can be wrong with a memory for good is
found before it is sent (``objects.stored``: a vector of another dimension or beyond float32, what JSON or a
double cannot hold) and is ``Permanent``; what is sent has only properties that we declared, of their types.
So what the server still refuses is about its state, and ``Transient``: read-only, no room, no leader, a
tenant that is being loaded, a property that another process is adding, a stray vector of another dimension
that was the first of its tenant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx
from grpc import StatusCode  # type: ignore[import-untyped]
from grpc.aio import AioRpcError, UsageError  # type: ignore[import-untyped]
from weaviate import exceptions as weaviate

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable


class AllRefused(Transient):
    """Every object of a batch was refused; which is why it came as an exception."""

    code = "refused"


class TooLarge(Transient):
    """The answer does not fit into a gRPC message, or the server is short of memory."""

    code = "too_large"


Verdict = tuple[type[MemrelayError], str]

BY_STATUS: Verdict = (Transient, "weaviate")
"""For classes that carry a status of HTTP or gRPC, which decides; this is for a status not below."""
_MISUSE: Verdict = (Permanent, "misuse")
_REFUSED: Verdict = (Permanent, "refused")
_CREDENTIALS: Verdict = (Unavailable, "credentials")
_UNREACHABLE: Verdict = (Unavailable, "unreachable")
_PROTOCOL: Verdict = (Transient, "protocol")
_TIMEOUT: Verdict = (Unavailable, "timeout")

# Each class of weaviate.exceptions. A class that is not here fails a test, so that a new one is judged
# and not just inherited.
CLASSES: dict[type[Exception], Verdict] = {
    weaviate.WeaviateBaseError: (Transient, "weaviate"),
    weaviate.UnexpectedStatusCodeError: BY_STATUS,
    weaviate.WeaviateQueryError: BY_STATUS,
    weaviate.WeaviateBatchError: BY_STATUS,
    weaviate.WeaviateBatchSendError: BY_STATUS,
    weaviate.WeaviateBatchStreamError: BY_STATUS,
    weaviate.WeaviateDeleteManyError: BY_STATUS,
    weaviate.WeaviateTenantGetError: BY_STATUS,
    weaviate.WeaviateInsertManyAllFailedError: (AllRefused, "refused"),
    weaviate.WeaviateConnectionError: _UNREACHABLE,
    weaviate.WeaviateStartUpError: _UNREACHABLE,
    weaviate.WeaviateGRPCUnavailableError: _UNREACHABLE,
    weaviate.WeaviateRetryError: _UNREACHABLE,
    weaviate.WeaviateBatchFailedToReestablishStreamError: _UNREACHABLE,
    weaviate._BatchStreamShutdownError: _UNREACHABLE,
    weaviate.WeaviateTimeoutError: _TIMEOUT,
    weaviate.WeaviateClosedClientError: (Unavailable, "closed"),
    weaviate.AuthenticationFailedError: _CREDENTIALS,
    weaviate.InsufficientPermissionsError: _CREDENTIALS,
    weaviate.MissingScopeError: _CREDENTIALS,
    weaviate.ResponseCannotBeDecodedError: _PROTOCOL,
    weaviate.EmptyResponseError: _PROTOCOL,
    weaviate.ObjectAlreadyExistsError: _REFUSED,
    weaviate.SchemaValidationError: _REFUSED,
    weaviate.WeaviateInvalidInputError: _REFUSED,
    weaviate.WeaviateAddInvalidPropertyError: _REFUSED,
    weaviate.WeaviateInsertInvalidPropertyError: _REFUSED,
    weaviate.WeaviateBatchValidationError: _REFUSED,
    weaviate.WeaviateUnsupportedFeatureError: (Permanent, "version"),
    weaviate.WeaviateProtobufIncompatibility: (Permanent, "version"),
    # What only parts of the client raise that we do not use.
    weaviate.AdditionalPropertiesError: _MISUSE,
    weaviate.InvalidDataModelError: _MISUSE,
    weaviate.BackupFailedError: _MISUSE,
    weaviate.BackupCanceledError: _MISUSE,
    weaviate.ExportFailedError: _MISUSE,
    weaviate.ExportCanceledError: _MISUSE,
    weaviate.WeaviateEmbeddedInvalidVersionError: _MISUSE,
    weaviate.WeaviateAgentsNotInstalledError: _MISUSE,
    # What the client lets through.
    httpx.HTTPError: _UNREACHABLE,
    httpx.TimeoutException: _TIMEOUT,
    AioRpcError: BY_STATUS,
    UsageError: (Unavailable, "closed"),
    TimeoutError: _TIMEOUT,
    OSError: _UNREACHABLE,
}

GRPC: dict[StatusCode, Verdict] = {
    StatusCode.UNAVAILABLE: _UNREACHABLE,
    StatusCode.DEADLINE_EXCEEDED: _TIMEOUT,
    StatusCode.CANCELLED: (Unavailable, "closed"),
    StatusCode.RESOURCE_EXHAUSTED: (TooLarge, "too_large"),
    StatusCode.UNAUTHENTICATED: _CREDENTIALS,
    StatusCode.PERMISSION_DENIED: _CREDENTIALS,
    StatusCode.INVALID_ARGUMENT: _REFUSED,
    StatusCode.OUT_OF_RANGE: _REFUSED,
    StatusCode.UNIMPLEMENTED: (Permanent, "version"),
}

HTTP: dict[int, Verdict] = {
    HTTPStatus.UNAUTHORIZED: _CREDENTIALS,
    HTTPStatus.FORBIDDEN: _CREDENTIALS,
    HTTPStatus.BAD_GATEWAY: _UNREACHABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: _UNREACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: _UNREACHABLE,
    HTTPStatus.UNPROCESSABLE_ENTITY: _REFUSED,
    HTTPStatus.BAD_REQUEST: _REFUSED,
}

ERRORS = tuple(CLASSES)
"""What the client can raise."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise ours for the client's, in one line that starts with ``what``."""
    try:
        yield
    except ERRORS as error:
        raise translate(error, what) from error


def translate(error: Exception, what: str) -> MemrelayError:
    """The error of memrelay for one that the client raised."""
    kind, code = _judge(error)
    root = _root(error)
    text = root.details() if isinstance(root, AioRpcError) else str(error)
    said = " ".join((text or type(error).__name__).split())
    return kind(f"{what}: {code}: {said[:300]}", code=code)


def _judge(error: Exception) -> Verdict:
    verdict = next(CLASSES[kind] for kind in type(error).__mro__ if kind in CLASSES)
    if verdict is not BY_STATUS:
        return verdict
    root = _root(error)
    if isinstance(root, AioRpcError):
        return GRPC.get(root.code(), BY_STATUS)
    if isinstance(error, weaviate.UnexpectedStatusCodeError):
        return HTTP.get(error.status_code, BY_STATUS)
    return BY_STATUS


def _root(error: Exception) -> BaseException:
    """The answer of gRPC behind an error, which the client leaves in its cause or context alone."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, AioRpcError):
        link = link.__cause__ or link.__context__
    return link or error
