"""`chatroom up` with everything real: what it tells is true, what is killed comes back, and nothing is left behind.

What it does with mistakes and signals is shown with quick stand-ins (tests/integration/chatroom/test_up.py).
"""

import json
import re
import socket
import urllib.request

import redis

from chatroom.up.guard import Guard
from common import keys
from common.shards import Shards
from testbed.chatroom_up import ChatroomUp
from testbed.redis_server import RedisServer
from tests.conftest import StackMaker
from tests.support import loops
from tests.support.logic_node import backend_send
from tests.support.loops import wait_gone
from tests.support.metrics import sample
from tests.support.promtool import needs_prometheus

SERVICES = ("comet", "logic", "job")


def status(url: str) -> int:
    """GET the URL and return the status."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own http URL
        return int(response.status)


def said(stack: ChatroomUp) -> list[str]:
    """Return the last words of `up`."""
    return [line for line in stack.lines if line.startswith("chatroom up: ")]


def test_the_banner_tells_true_addresses(stack: ChatroomUp) -> None:
    """Each of them answers, and it says what is embedded and how to stop."""
    text = "\n".join(stack.lines)
    for address in (
        stack.ws_url(),
        f"{stack.logic_url}/docs",
        stack.grpc(),
        stack.metrics_url(),
        stack.job_metrics_url,
    ):
        assert address.replace("127.0.0.1", "localhost") in text
    for url in (stack.http_url() + "/", stack.logic_url + "/docs", stack.metrics_url(), stack.job_metrics_url):
        assert status(url) == 200
    host, port = stack.grpc().split(":")
    socket.create_connection((host, int(port)), timeout=10).close()
    assert "Press Ctrl-C to stop" in text


def test_each_line_stands_behind_its_service(stack: ChatroomUp) -> None:
    """Without a terminal a service logs JSON, a line an event; nothing stands without a name but the banner."""
    for service in SERVICES:
        line = stack.wait_for_line(rf"^{service} +\| (.*)")  # it may be ready before it has said so
        assert json.loads(line[1])["service"] == service
    nameless = [line for line in stack.lines if not re.match(r"(up|comet|logic|job|kafka|redis) +\| ", line)]
    assert nameless[1].startswith("ChatRoom is ready")


def test_ctrl_c_leaves_nothing_behind(make_stack: StackMaker) -> None:
    """All drain and end by themselves: exit 0, no traceback, no process."""
    stack = make_stack(comets=2)
    pids = stack.pids()
    assert stack.stop() == 0
    for name in ("comet-0", "comet-1", "logic", "job"):
        stack.wait_for_line(rf"up +\| {name} ended with exit code 0")
    assert "Traceback" not in "\n".join(stack.lines)
    wait_gone(pids)


def test_a_folder_made_with_other_shards_keeps_them_and_a_new_one_has_64(guard: Guard, make_stack: StackMaker) -> None:
    """Nothing has to be set: all three services adopt what the embedded Redis keeps, history is found and forwarded."""
    old, new = make_stack(start=False), make_stack()
    with RedisServer(guard, old.directory / "redis") as server, server.client() as before:
        before.set(keys.SHARDS, 16)
        server.stop()
    old.start()
    for stack, count in ((old, 16), (new, 64)):
        send(stack, "hello")
        with redis.Redis.from_url(stack.redis_url) as client:
            assert client.get(keys.SHARDS) == str(count).encode()
            assert client.xlen(keys.room_keys(Shards(count).of("room_001"), "room_001").stream) == 1
        assert sample(stack.metrics_url(), "comet_outbox_leases") == count


def send(stack: ChatroomUp, content: str) -> None:
    """Send a message as a backend does, which Logic stores, Kafka keeps and Job pushes."""
    body = json.dumps(backend_send("room_001", content)).encode()
    request = urllib.request.Request(f"{stack.logic_url}/logic/send", body, method="POST")  # noqa: S310 - our own http URL
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
        assert answer.status == 200


def test_what_is_killed_is_ready_again(make_stack: StackMaker) -> None:
    """Each service and each embedded server on its own port, while the others run on; then Ctrl-C ends all as ever."""
    stack = make_stack()
    for name in SERVICES:
        others = [stack.pid_of(other) for other in SERVICES if other != name]
        stack.kill(name)
        stack.wait_ready_again(name)
        assert [stack.pid_of(other) for other in SERVICES if other != name] == others
    services = [stack.pid_of(name) for name in SERVICES]
    for name in ("redis", "kafka"):
        if any(f"{name} started" in line for line in stack.lines):  # with `--kafka apache` one is not embedded
            stack.kill(name)
            stack.wait_ready_again(name)
    for port_url in (stack.metrics_url(), stack.logic_url + "/metrics", stack.job_metrics_url):
        wait_ready(port_url.replace("/metrics", "/readyz"))
    assert [stack.pid_of(name) for name in SERVICES] == services
    assert stack.stop() == 0


def wait_ready(url: str) -> None:
    """Wait until the service says that it is ready."""
    loops.wait_until(lambda: ready(url), 30, f"{url} says ready")


def ready(url: str) -> bool:
    """Ask once."""
    try:
        return status(url) == 200
    except OSError:
        return False


def scraped(stack: ChatroomUp) -> dict[str, str]:
    """Return the health of what the stack's Prometheus scrapes, by address."""
    base = stack.wait_for_line(r"^  Prometheus +(\S+)")[1]
    with urllib.request.urlopen(f"{base}/api/v1/targets", timeout=10) as answer:  # noqa: S310 - our own http URL
        targets = json.load(answer)["data"]["activeTargets"]
    return {target["labels"]["instance"]: target["health"] for target in targets}


@needs_prometheus
def test_a_prometheus_beside_it_scrapes_all_services(make_stack: StackMaker) -> None:
    """`--prometheus`: named in the banner, its data under --data, each node and service a target; it ends with them."""
    stack = make_stack(comets=2, options=["--prometheus"])
    urls = [stack.metrics_url(0), stack.metrics_url(1), f"{stack.logic_url}/metrics", stack.job_metrics_url]
    expected = {url.removeprefix("http://").removesuffix("/metrics"): "up" for url in urls}
    loops.wait_until(lambda: scraped(stack) == expected, 20, lambda: f"{expected}, but {scraped(stack)}")
    assert (stack.directory / "prometheus" / "data").is_dir()
    pids = stack.pids()
    assert stack.stop() == 0
    stack.wait_for_line(r"up +\| prometheus ended with exit code 0")
    wait_gone(pids)
