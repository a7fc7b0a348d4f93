"""LiteLLM's exceptions, translated in this one place, by class.

A test fails when LiteLLM gains an exception that is not in ``TRANSLATION``.
"""

from __future__ import annotations

from litellm import exceptions

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable

LIMITED = "embedding_rate"
TIMED_OUT = "embedding_timeout"
UNREACHABLE = "embedding_unavailable"
GARBLED = "embedding_answer"
CREDENTIALS = "embedding_credentials"
NO_MODEL = "embedding_model"
REFUSED = "embedding_refused"
TOO_LONG = "embedding_too_long"

REFUSES_EVERYBODY = frozenset({CREDENTIALS, NO_MODEL})
"""Codes of a ``Permanent`` that no single text is guilty of: bisecting is useless, a setting is wrong."""

LONGEST_RETRY_AFTER = 3600.0  # seconds; a peer does not park memories for longer

TRANSLATION: dict[type[Exception], tuple[type[MemrelayError], str]] = {
    exceptions.RateLimitError: (Transient, LIMITED),
    exceptions.BudgetExceededError: (Transient, LIMITED),
    exceptions.Timeout: (Transient, TIMED_OUT),
    exceptions.APIConnectionError: (Unavailable, UNREACHABLE),
    exceptions.InternalServerError: (Unavailable, UNREACHABLE),
    exceptions.ServiceUnavailableError: (Unavailable, UNREACHABLE),
    exceptions.BadGatewayError: (Unavailable, UNREACHABLE),
    exceptions.MidStreamFallbackError: (Unavailable, UNREACHABLE),
    exceptions.OpenAIError: (Unavailable, UNREACHABLE),
    exceptions.APIError: (Unavailable, UNREACHABLE),
    exceptions.MockException: (Unavailable, UNREACHABLE),
    exceptions.APIResponseValidationError: (Transient, GARBLED),
    exceptions.JSONSchemaValidationError: (Transient, GARBLED),
    exceptions.AuthenticationError: (Permanent, CREDENTIALS),
    exceptions.PermissionDeniedError: (Permanent, CREDENTIALS),
    exceptions.PaymentRequiredError: (Permanent, CREDENTIALS),
    exceptions.NotFoundError: (Permanent, NO_MODEL),
    exceptions.LiteLLMUnknownProvider: (Permanent, NO_MODEL),
    exceptions.ModelNotMappedError: (Permanent, NO_MODEL),
    exceptions.UnsupportedParamsError: (Permanent, NO_MODEL),
    exceptions.ContextWindowExceededError: (Permanent, TOO_LONG),
    exceptions.BadRequestError: (Permanent, REFUSED),
    exceptions.UnprocessableEntityError: (Permanent, REFUSED),
    exceptions.InvalidRequestError: (Permanent, REFUSED),
    exceptions.RejectedRequestError: (Permanent, REFUSED),
    exceptions.ContentPolicyViolationError: (Permanent, REFUSED),
    exceptions.ImageFetchError: (Permanent, REFUSED),
    exceptions.VectorStoreSearchError: (Permanent, REFUSED),
    exceptions.GuardrailRaisedException: (Permanent, REFUSED),
    exceptions.BlockedPiiEntityError: (Permanent, REFUSED),
    exceptions.ModifyResponseException: (Permanent, REFUSED),
    exceptions.SensitiveDataRouteException: (Permanent, REFUSED),
}
TRANSLATED = tuple(TRANSLATION)

_STATUS_CODES = {402: CREDENTIALS, 403: CREDENTIALS}


def translate(error: Exception) -> MemrelayError:
    """Ours for one of ``TRANSLATED``; the nearest class decides, then ``Retry-After`` is read."""
    kind, code = next(TRANSLATION[base] for base in type(error).__mro__ if base in TRANSLATION)
    status = getattr(error, "status_code", None)
    if type(error) is exceptions.APIError and isinstance(status, int) and 400 <= status < 500:
        kind, code = Permanent, _STATUS_CODES.get(status, REFUSED)  # LiteLLM has no class for these
    message = str(error).partition("\n")[0][:500]
    if issubclass(kind, Transient):
        return kind(message, code=code, retry_after=_retry_after(error))
    return kind(message, code=code)


def _retry_after(error: Exception) -> float | None:
    """Seconds; LiteLLM hangs the answer's headers on the exception. A date is not understood."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_RETRY_AFTER) if seconds >= 0 else None
