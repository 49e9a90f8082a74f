"""The OpenAPI 3.1 document, made from the table of routes and the pydantic models. Pure.

What it uses beyond 3.0 are hints that an older tool passes over, so that it can be shown as 3.0 (docs_page.py does).
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from logic import examples, replies
from logic.routes import ROUTES, TAGS, Parameter, Route

_REF = "#/components/schemas/"
_ABOUT = """Sends messages to rooms, pushes to users, and tells about rooms.

Ids of rooms and users are in Unicode's form NFC and hold no control and no invisible characters. In a path they are
percent-encoded. History under ids that earlier versions accepted stays readable.

A `ref`, in the body or as `Idempotency-Key`, makes a request safe to repeat. It names one request: with other contents
the answer is 422.

Each answer that is not 200 has `code`, `message` and, where one is meant, `field`."""


def document(version: str) -> dict[str, Any]:
    """Return the document of this version of Logic."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ChatRoom Logic",
            "version": version,
            "description": _ABOUT,
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(replies.Error, "serialization")]
    models += [(route.body, "validation") for route in ROUTES if route.body]
    models += [(route.reply, "serialization") for route in ROUTES if route.reply]
    _, schemas = models_json_schema(models, ref_template=_REF + "{model}")
    found: dict[str, Any] = schemas["$defs"]
    return found


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.operation, "tags": [route.tag], "summary": route.summary}
    if route.parameters:
        operation["parameters"] = [_parameter(one) for one in route.parameters]
    if route.body is not None:
        content = {"schema": _ref(route.body), "example": examples.BODIES[route.operation]}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    faults = {str(status): _fault(status, text, route) for status, text in route.faults.items()}
    return operation | {"responses": {"200": _answer(route), **faults}}


def _parameter(one: Parameter) -> dict[str, Any]:
    told = {"name": one.name, "in": one.where, "required": one.where == "path", "description": one.text}
    example = {} if one.example is None else {"example": one.example}
    return {**told, "schema": one.schema, **example}


def _answer(route: Route) -> dict[str, Any]:
    if route.reply is None:
        schema: dict[str, Any] = {"type": "object"} if route.media == "application/json" else {"type": "string"}
    else:
        schema = _ref(route.reply)
    text = (route.reply.__doc__ if route.reply else None) or route.summary
    content = {"schema": schema, "example": examples.ANSWERS[route.operation]}
    return {"description": text, "content": {route.media: content}}


def _fault(status: int, text: str, route: Route) -> dict[str, Any]:
    content: dict[str, Any] = (
        {"schema": {"type": "object"}, "example": examples.NOT_READY}
        if route.elsewhere
        else {"schema": _ref(replies.Error), "example": examples.ERRORS[status]}
    )
    answer: dict[str, Any] = {"description": text, "content": {"application/json": content}}
    if status == 503 and not route.elsewhere:  # noqa: PLR2004 - an HTTP status is its own name
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return answer


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REF + model.__name__}
