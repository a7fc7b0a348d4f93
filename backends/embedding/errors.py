"""LiteLLM's exceptions, translated in this one place, by class.

A test fails when LiteLLM gains an exception that is not in ``TRANSLATION``.
"""

from __future__ import annotations

from collections.abc import Collection

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

LONGEST_RETRY_AFTER = 3600.0  # seconds; a peer does not park memories for longer

# A wrong key, a missing model or parameter is a setting: it refuses everybody, no text is guilty, and
# what waits is stored once the setting is mended. So these are ``Unavailable``, not ``Permanent``.
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
    exceptions.AuthenticationError: (Unavailable, CREDENTIALS),
    exceptions.PermissionDeniedError: (Unavailable, CREDENTIALS),
    exceptions.PaymentRequiredError: (Unavailable, CREDENTIALS),
    exceptions.NotFoundError: (Unavailable, NO_MODEL),
    exceptions.LiteLLMUnknownProvider: (Unavailable, NO_MODEL),
    exceptions.ModelNotMappedError: (Unavailable, NO_MODEL),
    exceptions.UnsupportedParamsError: (Unavailable, NO_MODEL),
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

_BY_STATUS = {402: (Unavailable, CREDENTIALS), 403: (Unavailable, CREDENTIALS)}


def translate(error: Exception, secrets: Collection[str] = ()) -> MemrelayError:
    """Ours for one of ``TRANSLATED``; the nearest class decides, then ``Retry-After`` is read.

    Its message is for whoever sent the text, so without ``secrets``, which providers quote too.
    """
    kind, code = next(TRANSLATION[base] for base in type(error).__mro__ if base in TRANSLATION)
    status = getattr(error, "status_code", None)
    if type(error) is exceptions.APIError and isinstance(status, int) and 400 <= status < 500:
        kind, code = _BY_STATUS.get(status, (Permanent, REFUSED))  # LiteLLM has no class for these
    message = str(error)
    for secret in secrets:
        message = message.replace(secret, "***")
    message = message.partition("\n")[0][:500]
    if issubclass(kind, Transient):
        ours: MemrelayError = kind(message, code=code, retry_after=_retry_after(error))
    else:
        ours = kind(message, code=code)
    ours.quotes = True  # providers do, even when they are merely down
    return ours


def _retry_after(error: Exception) -> float | None:
    """Seconds; LiteLLM hangs the answer's headers on the exception. A date is not understood."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_RETRY_AFTER) if seconds >= 0 else None
