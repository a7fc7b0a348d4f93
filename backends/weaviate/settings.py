"""The settings under ``drivers.<name>`` of a Weaviate driver."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from memrelay.options import Options

PORTS = {"http": 80, "https": 443}
EXAMPLE = "http://127.0.0.1:8080"


def _address(url: str) -> str:
    parts = urlsplit(url)
    plain = parts.path in ("", "/") and not parts.username and not parts.query
    if parts.scheme not in PORTS or not parts.hostname or parts.port == 0 or not plain:
        raise ValueError(f"give an address such as {EXAMPLE}")
    return url


class Settings(Options):
    """``url`` is REST; gRPC is on the same host, encrypted if ``url`` is."""

    url: Annotated[str, AfterValidator(_address), Field(examples=[EXAMPLE])]
    """The address of its REST API."""
    grpc_port: int = Field(default=50051, ge=1, le=65535)
    """The port of its gRPC API, on the same host."""
    api_key: str | None = Field(default=None, min_length=1)
    """Sent as a bearer token."""
    timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds that one call of the client may take."""

    @field_validator("grpc_port")
    @classmethod
    def _has_one_of_its_own(cls, grpc_port: int, info: ValidationInfo) -> int:
        if "url" in info.data and _port(info.data["url"]) == grpc_port:
            raise ValueError("the same port as in url; gRPC has one of its own")
        return grpc_port

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return _port(self.url)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or PORTS[parts.scheme]
