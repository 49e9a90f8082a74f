"""Ordinary requests at the WebSocket port, who may connect, and what the metrics show from the start."""

import asyncio
import io
import time
from typing import Any

import aiohttp
import jwt
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from yarl import URL

from comet import page
from common.errors import StartupError
from common.health import PATHS
from testbed.redis_server import RedisServer
from tests.support.comet_node import CometNode, running
from tests.support.eventually import eventually
from tests.support.metrics import asample, until_sample

pytestmark = pytest.mark.asyncio(loop_scope="package")

KEY = "a key that is long enough for any HMAC: " + "k" * 64


async def get(url: str | URL, **options: Any) -> tuple[int, str, str]:
    """Return status, content type and text."""
    method = options.pop("method", "GET")
    async with aiohttp.ClientSession() as http, http.request(method, url, **options) as answer:
        return answer.status, answer.content_type, await answer.text()


# -- ordinary requests ---------------------------------------------------------------------------------------------


async def test_the_page_and_health_are_served_at_the_websocket_port(node: CometNode) -> None:
    """A page to chat by hand, whether the node lives, and whether it is ready."""
    status, kind, page = await get(node.http_url)
    assert (status, kind, "<html" in page) == (200, "text/html", True)
    assert await get(f"{node.http_url}/healthz") == (200, "application/json", '{"status":"ok"}')
    status, _, report = await get(f"{node.http_url}/readyz")
    assert (status, '"status":"ok"' in report) == (200, True)


async def test_each_file_of_the_page_is_served_as_what_it_is(node: CometNode) -> None:
    """Under a policy that runs nothing else; asked for again, it is not sent again."""
    async with aiohttp.ClientSession() as http:
        for path, asset in page.load(["room_001"]).items():
            async with http.get(node.http_url + path) as answer:
                assert (answer.status, await answer.read()) == (200, asset.body)
                assert answer.headers["Content-Type"] == asset.content_type
                assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
                etag = answer.headers["ETag"]
            for known, status in ((etag, 304), ('"other"', 200)):
                async with http.get(node.http_url + path, headers={"If-None-Match": known}) as again:
                    assert (again.status, await again.read()) == (status, asset.body if status == 200 else b"")


@pytest.mark.parametrize(
    "target",
    ["/nothing", "/healthz/", "/%2e%2e/etc/passwd", "/../gateway.py", "/style/../../gateway.py", "/client", "/style/",
     "//index.html", "/package.json", "/README.md", "/app.js/", "/app.js%00"],
)  # fmt: skip
async def test_there_is_nothing_else(node: CometNode, target: str) -> None:
    """Neither files nor folders."""
    assert (await get(URL(node.http_url + target, encoded=True)))[0] == 404


@pytest.mark.parametrize("path", ["/", "/index.html", "/app.js", "/healthz", "/readyz", "/nothing"])
async def test_head_answers_as_get_without_the_body(node: CometNode, path: str) -> None:
    """Load balancers ask so: status and headers are the same, Content-Length among them."""
    async with aiohttp.ClientSession() as http:
        async with http.get(node.http_url + path) as got, http.head(node.http_url + path) as asked:
            assert (asked.status, await asked.read()) == (got.status, b"")
            assert int(asked.headers["Content-Length"]) == len(await got.read()) > 0
            assert _lasting(asked.headers) == _lasting(got.headers)


def _lasting(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Date"}


async def test_other_methods_are_told_which_are_allowed(node: CometNode) -> None:
    """405 with Allow, also where the request has a body that is longer than what a socket holds."""
    async with aiohttp.ClientSession() as http:
        for method in ("DELETE", "POST", "PUT", "OPTIONS", "PATCH"):
            async with http.request(method, node.http_url, data=io.BytesIO(bytes(4_000_000))) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_too_large_headers_are_answered_also_while_they_still_come(node: CometNode) -> None:
    """431: hanging up at once would destroy the answer on its way. The counter tells it from other faults."""
    before = await asample(node.metrics_url, "comet_requests_refused_total", status="431")
    reader, writer = await asyncio.open_connection("127.0.0.1", node.settings.http_bind_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: " + b"y" * 9000 + b"\r\n" + b"z: z\r\n" * 100_000)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"a header line is longer than 8192 bytes" in answer
    writer.close()
    await until_sample(node.metrics_url, "comet_requests_refused_total", before + 1, status="431")


@pytest.mark.parametrize(
    "request_line", ["GET //[ HTTP/1.1", "GET /?rooms=%ff%00 HTTP/1.1", "GET * HTTP/1.1", "NONSENSE", "GET / HTTP/9.9"]
)
@pytest.mark.parametrize(
    "headers", ["", "Upgrade: websocket\r\n", "Upgrade: websocket\r\nAuthorization: a\r\nAuthorization: b\r\n"]
)
async def test_an_odd_request_is_answered(
    redis_url: str, caplog: pytest.LogCaptureFixture, request_line: str, headers: str
) -> None:
    """It never is an error of the node's own, which would be logged with a traceback."""
    async with running(redis_url, auth_key=KEY) as node:
        await odd_request(node, f"{request_line}\r\nHost: x\r\n{headers}\r\n")
    assert [record for record in caplog.records if record.exc_info] == []


async def odd_request(node: CometNode, request: str) -> None:
    """Send it and read what comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.settings.http_bind_port)
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.split()[1] in {b"200", b"400", b"401", b"404", b"426", b"505"}
    writer.close()


async def test_metrics_health_and_readiness_have_their_own_port(node: CometNode) -> None:
    """For Prometheus and for whoever asks in a container."""
    base = node.metrics_url.removesuffix("/metrics")
    assert (await get(f"{base}/healthz"))[0] == 200
    assert (await get(f"{base}/readyz"))[0] == 200
    for path in PATHS:
        assert await get(f"{base}{path}", method="HEAD") == (200, (await get(f"{base}{path}"))[1], "")


async def test_the_metrics_of_the_seed_are_there_from_the_start(node: CometNode) -> None:
    """Both outcomes of a forward, each path's deliveries, and a histogram of each hop: at 0, not missing."""
    _, _, text = await get(node.metrics_url)
    found = {
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for status in ("success", "failed"):
        labels = [("name", "logic_forward"), ("service", "comet"), ("status", status)]
        assert ("grpc_calls_total", *labels) in found
    for path in ("pubsub", "push"):
        assert ("comet_delivery_seconds_count", ("path", path)) in found
        for result in ("delivered", "duplicate", "held"):
            assert ("comet_deliveries_total", ("path", path), ("result", result)) in found
    for name in ("chat_append_seconds_count", "comet_forward_seconds_count", "comet_told_holes_total",
                 "comet_outbox_length", "comet_outbox_oldest_age_seconds", "comet_refused_pushes_total"):  # fmt: skip
        assert (name,) in found, name
    assert not [name for name, *labels in found if any(label in ("room", "user") for label, _ in labels)]


async def test_connections_and_rooms_are_counted(node: CometNode) -> None:
    """What is open now."""
    async with node.client(rooms="a,b"), node.client(rooms="b"):
        assert await asample(node.metrics_url, "comet_connections") == 2
        await eventually(lambda: asample_is(node, "comet_rooms", 2))
    await eventually(lambda: asample_is(node, "comet_connections", 0))


async def asample_is(node: CometNode, name: str, value: float) -> bool:
    """Whether a metric has this value by now."""
    return await asample(node.metrics_url, name) == value


# -- who may connect -----------------------------------------------------------------------------------------------


def token(**claims: object) -> str:
    """Return a token of the node's own key."""
    return jwt.encode(claims, KEY, algorithm="HS256")


async def refusal(node: CometNode, **query: str) -> tuple[int, str]:
    """Connect and return close code and reason of the refusal."""
    async with node.connection(**query) as connection:
        with pytest.raises(ConnectionClosed) as refused:
            await connection.recv()
    assert refused.value.rcvd is not None
    return refused.value.rcvd.code, refused.value.rcvd.reason


async def test_with_auth_on_the_token_says_who_it_is(redis_url: str) -> None:
    """As ?token= or in a header; ?uid= counts for nothing then."""
    async with running(redis_url, auth_key=KEY) as node:
        good = token(sub="7", name="Alice", exp=time.time() + 60)
        async with node.client(token=good, uid="bob", rooms="") as client:
            assert client.frames("hello")[0]["me"] == {"id": "7", "username": "Alice"}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token(sub='8')}"}) as http:
            async with http.ws_connect(node.url(rooms="")) as socket:
                assert (await socket.receive_json())["payload"]["me"] == {"id": "8", "username": "8"}


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "nonsense",
        token(name="nobody"),
        token(sub="7", exp=1),
        jwt.encode({"sub": "7"}, KEY + "!", algorithm="HS256"),
        jwt.encode({"sub": "7"}, "", algorithm="none"),
        jwt.encode({"sub": "7"}, KEY, algorithm="HS512"),
    ],
)
async def test_without_a_valid_token_nobody_comes_in(redis_url: str, bad: str) -> None:
    """Missing, broken, expired, of another key, unsigned or of an algorithm that is not accepted: 1008."""
    async with running(redis_url, auth_key=KEY) as node:
        code, reason = await refusal(node, token=bad)
        assert code == 1008
        assert reason.startswith("a valid token is needed" if bad else "a token is needed")


@pytest.mark.parametrize(
    ("query", "field"),
    [({"uid": "x" * 129}, "uid"), ({"name": "x" * 65}, "name"), ({"rooms": "a b"}, "rooms"), ({"uid": "a\nb"}, "uid"),
     ({"rooms": ",".join(map(str, range(101)))}, "rooms")],
)  # fmt: skip
async def test_what_a_guest_says_has_its_limits(node: CometNode, query: dict[str, str], field: str) -> None:
    """1008, naming the field: a browser would take an HTTP status for a lost connection, and retry."""
    code, reason = await refusal(node, **query)
    assert code == 1008
    assert reason.startswith(field)


# -- starting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("http_bind_port", "COMET_HTTP_BIND_PORT"),
        ("metrics_port", "COMET_METRICS_PORT"),
        ("grpc_port", "COMET_GRPC_PORT"),
    ],
)
async def test_a_port_in_use_is_named(node: CometNode, redis_url: str, setting: str, says: str) -> None:
    """One line with the port and the setting to change."""
    taken = getattr(node.settings, setting)
    with pytest.raises((StartupError, ExceptionGroup)) as failed:
        async with running(redis_url, **{setting: taken}):
            pass
    fault = failed.value.exceptions[0] if isinstance(failed.value, ExceptionGroup) else failed.value
    assert isinstance(fault, StartupError)
    assert str(taken) in str(fault)
    assert says in str(fault)


async def test_a_redis_that_is_not_there_is_named(own_redis: RedisServer) -> None:
    """One line with its address and the setting to change."""
    own_redis.stop()
    with pytest.raises(StartupError, match=rf"127.0.0.1:{own_redis.port}.*redis_url"):
        async with running(own_redis.url):
            pass


async def test_a_redis_with_weaker_settings_is_warned_about(own_redis: RedisServer) -> None:
    """The node is ready, but says what may be lost."""
    with own_redis.client() as admin:
        admin.config_set("appendfsync", "everysec")
    async with running(own_redis.url) as node:
        status, _, report = await get(f"{node.http_url}/readyz")
    assert status == 200
    assert "appendfsync is everysec" in report
