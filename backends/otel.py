"""OpenTelemetry: the one module that knows it. Configured by its own ``OTEL_…`` variables."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from backends.tracing import Kind, Value
from memrelay import __version__
from memrelay.errors import ConfigError, MemrelayError

CLOSING_SECONDS = 3.0
KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_propagator = TraceContextTextMapPropagator()


def create(service: str) -> OpenTelemetry:
    """Sends spans by OTLP over HTTP. ``service`` is its name unless ``OTEL_SERVICE_NAME`` says another."""
    for name in _PROTOCOLS:
        if os.environ.get(name, "http/protobuf") != "http/protobuf":
            raise ConfigError(f"{name}: only http/protobuf is spoken here")
    named = os.environ.get("OTEL_SERVICE_NAME", service)
    resource = Resource.create({SERVICE_NAME: named, SERVICE_VERSION: __version__})
    return OpenTelemetry(TracerProvider(resource=resource, shutdown_on_exit=False))


class OpenTelemetrySpan:
    """As ``tracing.Span``."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def failed(self, code: str) -> None:
        self._span.set_status(StatusCode.ERROR)
        self._span.set_attribute("error.type", code)


class OpenTelemetry:
    """As ``tracing.Tracing``."""

    def __init__(self, provider: TracerProvider) -> None:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._provider = provider
        self._tracer = provider.get_tracer("memrelay", __version__)

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind,
        parent: str,
        links: Sequence[str],
        attributes: Mapping[str, Value],
    ) -> Iterator[OpenTelemetrySpan]:
        found = [context for context in map(_context_of, links) if context.is_valid]
        with self._tracer.start_as_current_span(
            name,
            context=_propagator.extract({"traceparent": parent}) if parent else None,
            kind=KINDS[kind],
            links=[Link(context) for context in found],
            attributes=attributes,
            record_exception=False,  # its message, and what its frames hold, may be somebody's text
            set_status_on_exception=False,
        ) as begun:
            it = OpenTelemetrySpan(begun)
            try:
                yield it
            except MemrelayError as error:
                it.failed(error.code)
                raise
            except BaseException as error:
                it.failed(type(error).__name__)
                raise

    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        context = trace.get_current_span().get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            _propagator.inject(carrier)
        return carrier.get("traceparent", "")

    def close(self) -> None:
        """A collector that is away is not waited for: by itself the SDK would, for half a minute."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)


def _context_of(traceparent: str) -> SpanContext:
    extracted: Context = _propagator.extract({"traceparent": traceparent}, Context())
    return trace.get_current_span(extracted).get_span_context()
