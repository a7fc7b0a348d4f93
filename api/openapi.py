"""OpenAPI for routes that read their bodies themselves (which costs half of what FastAPI's way does)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

KEY = {"type": "http", "scheme": "bearer", "description": "An API key, where there are any."}
TEMPLATE = "#/components/schemas/{model}"
_models: list[type[BaseModel]] = []


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """``openapi_extra`` of a route whose JSON body is ``model``."""
    return _body("application/json", model)


def patch_of(model: type[BaseModel]) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body is a ``model`` to be merged."""
    extra = _body("application/merge-patch+json", model)
    content = extra["requestBody"]["content"]
    content["application/json"] = content["application/merge-patch+json"]
    return extra


def ndjson_of(model: type[BaseModel]) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body has one ``model`` a line."""
    return _body("application/x-ndjson", model)


def _body(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    _models.append(model)
    schema = {"$ref": TEMPLATE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def install(app: FastAPI) -> None:
    """``app.openapi`` with the schemas of those bodies, and how keys are given."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            _, schemas = models_json_schema(
                [(model, "validation") for model in _models], ref_template=TEMPLATE
            )
            components = document.setdefault("components", {}).setdefault("schemas", {})
            components.update(schemas.get("$defs", {}))
            document["components"]["securitySchemes"] = {"key": KEY}
            document["security"] = [{"key": []}, {}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
