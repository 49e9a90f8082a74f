"""What all routes have in common, the OpenAPI document and its page."""

import re
from typing import Any

import orjson
import pytest

from common.errors import BadRequest, Internal, Overloaded, TooLarge, Unavailable
from logic.replies import Error
from logic.routes import ROUTES
from tests.support.logic_node import Answer, Logic, comet_send
from tests.support.raw_http import exchange


async def test_an_unknown_route_is_404_and_a_wrong_method_405_in_json(logic: Logic) -> None:
    """With the same body as any other fault; 405 says what is allowed."""
    unknown = await logic.get("/logic/nothing")
    wrong = await logic.get("/logic/send")
    assert (unknown.status, Error.model_validate(unknown.json).code) == (404, "not_found")
    assert (wrong.status, Error.model_validate(wrong.json).code) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "POST"
    assert (await logic.call("DELETE", "/logic/rooms")).status == 405
    quoted = await logic.get("/%1B%5B2J%C2%9B%E2%80%AE")
    assert quoted.json["message"] == "there is no GET /\\x1b[2J\\x9b\\u202e"


async def test_health_and_metrics_are_served_beside_the_api(logic: Logic) -> None:
    """As on every service."""
    assert (await logic.get("/healthz")).json == {"status": "ok"}
    assert (await logic.get("/readyz")).json == {"status": "ok", "reasons": {}, "warnings": {}}
    metrics = await logic.get("/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain")
    assert 'logic_sends_total{result="skipped",source="comet"}' in metrics.json


async def test_head_answers_as_get_without_the_body(logic: Logic) -> None:
    """On every path that GET serves, as load balancers ask."""
    for path in (route.path.replace("{roomId}", "room") for route in ROUTES if route.method == "GET"):
        async with logic.session.get(path) as got, logic.session.head(path) as asked:
            assert (asked.status, await asked.read()) == (got.status, b""), path
            assert asked.headers["Content-Type"] == got.headers["Content-Type"]
            assert int(asked.headers["Content-Length"]) > 0


async def test_bodies_need_no_content_type_and_may_be_compressed(logic: Logic) -> None:
    """What curl -d sends says form data; that is no reason to refuse JSON."""
    for headers in ({"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "text/plain"}):
        assert (await logic.post("/logic/send", comet_send("room", 1), headers=headers)).status == 200
    async with logic.session.post("/logic/send", json=comet_send("room", 1), compress="gzip") as answer:
        assert answer.status == 200


async def test_a_request_that_is_no_http_is_refused_in_json_and_quoted_nowhere(
    logic: Logic, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A header or a body may hold a token."""
    post = b"POST /logic/send HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for request, status in (
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (b"HUSH" * 2250), 431),
        (post + b"Transfer-Encoding: chunked\r\n\r\nHUSH\r\n", 400),
        (post + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nHUSH", 400),
    ):
        head, body = (await exchange(logic.settings.http_bind_port, request)).split(b"\r\n\r\n", 1)
        assert head.split()[1] == str(status).encode()
        assert b"application/json" in head
        assert Error.model_validate_json(body).code == "bad_request"
        assert b"HUSH" not in body
    printed = capsys.readouterr()
    assert "HUSH" not in printed.out + printed.err + caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


async def test_the_document_describes_every_route_and_nothing_else(logic: Logic) -> None:
    """Paths and methods of the document are those that answer."""
    document = (await logic.get("/openapi.json")).json
    described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert described == {(route.method, route.path) for route in ROUTES}
    for method, path in described:
        answer = await logic.call(method, path.replace("{roomId}", "room"))
        assert answer.status not in {404, 405, 500}, path
        assert str(answer.status) in document["paths"][path][method.lower()]["responses"], path


async def test_the_document_is_sound(logic: Logic) -> None:
    """References resolve, ids are unique, path parameters are declared, every answer has a description and a schema."""
    document = (await logic.get("/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    assert set(document) == {"openapi", "info", "tags", "paths", "components"}
    tags = [tag["name"] for tag in document["tags"]]
    schemas = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    operations = {path: list(found.items()) for path, found in document["paths"].items()}
    names = [operation["operationId"] for found in operations.values() for _, operation in found]
    assert len(names) == len(set(names))
    for path, found in operations.items():
        for method, operation in found:
            assert [tag in tags for tag in operation["tags"]] == [True]
            declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
            assert ("requestBody" in operation) == (method == "post")
            assert "200" in operation["responses"]
            for answer in operation["responses"].values():
                assert answer["description"]
                assert all({"schema", "example"} <= set(content) for content in answer["content"].values())
    assert {"400", "413", "422", "503"} < set(document["paths"]["/logic/send"]["post"]["responses"])
    assert "Retry-After" in document["paths"]["/logic/send"]["post"]["responses"]["503"]["headers"]
    assert schemas["Send"]["required"] == ["roomId", "userId", "userName", "messages"]
    assert "null" not in str(_types(schemas))


async def test_each_example_works_as_it_stands(logic: Logic) -> None:
    """On a fresh stack, twice, in any order: what "Try it out" on /docs sends is answered 200, and as the example says.

    "As it says" means by the same model: the values are others.
    """
    document = (await logic.get("/openapi.json")).json
    replied = {route.operation: route.reply for route in ROUTES}
    for _ in range(2):
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                answer = await _call_as_shown(logic, method.upper(), path, operation)
                assert answer.status == 200, (path, answer.json)
                shown = operation["responses"]["200"]["content"][answer.headers["Content-Type"].partition(";")[0]]
                if (model := replied[operation["operationId"]]) is not None:
                    assert model.model_validate(answer.json), path
                    assert model.model_validate(shown["example"]), path
    sent = (await logic.get("/logic/rooms/room_001/messages")).json["messages"]
    assert [one["content"] for one in sent].count("Hello from a backend") == 2


async def _call_as_shown(logic: Logic, method: str, path: str, operation: dict[str, Any]) -> Answer:
    """Ask with the examples of the document; a parameter without one is left out, as Swagger UI does."""
    examples = {one["name"]: one["example"] for one in operation.get("parameters", []) if "example" in one}
    url = re.sub(r"{(\w+)}", lambda found: str(examples[found[1]]), path)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    return await logic.call(method, url, data=None if body is None else orjson.dumps(body))


async def test_errors_are_explained_to_a_reader_without_our_sources(logic: Logic) -> None:
    """Each has an example of its answer; no text names a file of ours, and every code that is answered is told."""
    document = (await logic.get("/openapi.json")).json
    assert not re.search(r"\.py|\.lua|common/|logic/\w+\.", orjson.dumps(document).decode())
    codes = document["components"]["schemas"]["Error"]["properties"]["code"]["description"]
    faults = [fault.code for fault in (BadRequest, TooLarge, Overloaded, Unavailable, Internal)]
    assert [code for code in (*faults, "not_found", "method_not_allowed") if code not in codes] == []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                example = answer["content"].get("application/json", {}).get("example")
                if path.startswith("/logic/") and status != "200":
                    assert Error.model_validate(example).message, (path, status)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for part in value.values() for found in _references(part)]
    return [found for part in value for found in _references(part)] if isinstance(value, list) else []


def _types(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {str(value["type"])} if "type" in value else set()
        return own.union(*(_types(part) for part in value.values()))
    return set().union(*(_types(part) for part in value)) if isinstance(value, list) else set()


async def test_the_page_loads_nothing_from_elsewhere(logic: Logic) -> None:
    """Everything it names is served from here, and its policy forbids the rest."""
    page = await logic.get("/docs")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    names = re.findall(r'(?:src|href)="([^"]+)"', page.json)
    assert {"docs/start.js", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css"} <= set(names)
    assert not [name for name in names if "//" in name]
    for name in names:
        async with logic.session.get(f"/{name}") as answer:
            assert answer.status == 200, name
            if name.endswith(("start.js", ".html")):
                assert "//" not in await answer.text()
    assert (await logic.get("/docs/nothing.js")).status == 404
    assert (await logic.get("/docs/..%2Fapp.py")).status == 404
