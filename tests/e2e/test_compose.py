"""docker-compose.yml for real: one message over both paths, seen from the host, by Prometheus and by Grafana.

It runs wherever a Docker engine answers, with each compose program there. Without an engine nothing is collected here
and pytest's header says so; docs/compose-transcript.md has a run.
"""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection, connect

from testbed import compose
from testbed.compose import ComposeProject
from tests.support.loops import wait_until

__test__ = bool(compose.engine())
pytestmark = pytest.mark.timeout(compose.BUILD_TIMEOUT_S + 240)

SERVICES = ("comet", "logic", "job")
ANSWER_TIMEOUT_S = 10.0
PUSH_TIMEOUT_S = 30.0
SCRAPE_TIMEOUT_S = 60.0
CONSUME_TIMEOUT_MS = 30_000
PAUSE_S = 0.5
KILLED = 137
TEXT = "Test message"


def get(port: int, path: str) -> str:
    """Return what a GET on this machine answers; empty while nobody does."""
    connection = http.client.HTTPConnection("localhost", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == http.client.OK else ""
    except OSError:
        return ""
    finally:
        connection.close()


def up_targets() -> set[str]:
    """The jobs whose target Prometheus scraped last time."""
    answer = get(9090, "/api/v1/targets")
    targets = json.loads(answer)["data"]["activeTargets"] if answer else []
    return {target["labels"]["job"] for target in targets if target["health"] == "up"}


def series(query: str) -> list[Any]:
    """Return what Prometheus answers to a query."""
    answer = get(9090, f"/api/v1/query?query={quote(query)}")
    return list(json.loads(answer)["data"]["result"]) if answer else []


def pushed_repeats() -> float:
    """Return how many messages came to Comet by push that PubSub had brought already."""
    wanted = {"path": "push", "result": "duplicate"}
    samples = (sample for family in text_string_to_metric_families(get(9091, "/metrics")) for sample in family.samples)
    return sum(it.value for it in samples if it.name == "comet_deliveries_total" and it.labels == wanted)


def receive(client: ClientConnection, wanted: str) -> str:
    """Return the next frame that has the text in it."""
    while True:
        frame = str(client.recv(timeout=ANSWER_TIMEOUT_S))
        if wanted in frame:
            return frame


def send_message(client: ClientConnection) -> None:
    """Send the README's frame."""
    client.send(json.dumps({"type": "clientMessages", "payload": {"content": TEXT, "roomId": "room_001"}}))


def grpcurl() -> str:
    """Call BroadcastRoom from the host as the README does, and return what it answers."""
    request = '{"roomId": "room_001", "proto": {"ver": 1, "op": 4, "seq": 0, "body": "test message"}}'
    call = ["-plaintext", "-d", request, "localhost:50051", "ChatRoom.Comet.Comet/BroadcastRoom"]
    program = Path(sys.executable).with_name("grpcurl")
    return subprocess.run([program, *call], capture_output=True, text=True, timeout=30, check=True).stdout


def consumed(stack: ComposeProject) -> str:
    """Return the first record of my-topic as Kafka's console consumer prints it."""
    consumer = "/opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server kafka:19092 --topic my-topic"
    once = f"--from-beginning --max-messages 1 --timeout-ms {CONSUME_TIMEOUT_MS}"
    return stack.run("exec", "-T", "kafka", *consumer.split(), *once.split(), timeout_s=90)


def dashboard_queries() -> list[str]:
    """Return the queries of the forwards as Grafana provisioned them."""
    answer = get(3000, "/api/dashboards/uid/chatroom")
    panels = json.loads(answer)["dashboard"]["panels"] if answer else []
    seed = [panel for panel in panels if panel["title"].startswith("Forward to Logic")]
    return [target["expr"] for panel in seed for target in panel["targets"]]


def push_comes(client: ClientConnection) -> bool:
    """Send once more, for Job pushes to a node only once the registry names it; whether a push has come."""
    send_message(client)
    return pushed_repeats() > 0


def check_chat(stack: ComposeProject) -> None:
    """A message comes back at once, is in Kafka, and comes again by push, which Comet knows for a repeat."""
    with connect("ws://localhost:8082/") as client:
        send_message(client)
        assert '"roomId":"room_001"' in receive(client, TEXT).replace(" ", "")
        assert TEXT in consumed(stack)
        assert "{" in grpcurl()
        assert receive(client, "test message") == "test message"
        wait_until(lambda: push_comes(client), PUSH_TIMEOUT_S, lambda: f"a push\n{stack.logs('job')[-4000:]}", PAUSE_S)


def rules() -> list[str]:
    """Return the names of the alerts that Prometheus evaluates without a fault."""
    answer = get(9090, "/api/v1/rules")
    groups = json.loads(answer)["data"]["groups"] if answer else []
    return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"]


def check_seen(stack: ComposeProject) -> None:
    """Prometheus scrapes all three services and knows the alerts; Grafana has both dashboards, with what they show."""
    wait_until(lambda: up_targets() >= set(SERVICES), SCRAPE_TIMEOUT_S, lambda: f"up, but only {up_targets()}", PAUSE_S)
    wait_until(dashboard_queries, SCRAPE_TIMEOUT_S, lambda: f"a dashboard\n{stack.logs('grafana')[-4000:]}", PAUSE_S)
    queries = dashboard_queries()
    wait_until(lambda: all(map(series, queries)), SCRAPE_TIMEOUT_S, lambda: f"series for {queries}", PAUSE_S)
    assert get(3000, "/api/dashboards/uid/chatroom-services")
    wait_until(lambda: "ServiceDown" in rules(), SCRAPE_TIMEOUT_S, lambda: f"alerts, but only {rules()}", PAUSE_S)


def check_history() -> None:
    """The message is in the room for who comes later."""
    with connect("ws://localhost:8082/") as client:
        assert TEXT in receive(client, '"hello"')


@pytest.mark.parametrize("program", compose.programs() if __test__ else [])
def test_the_stack_chats_is_watched_and_ends_cleanly(program: str) -> None:
    """Up, chat, watch, stop: all three services exit 0; with new containers the message is still there."""
    with compose.composed(program) as stack:
        check_chat(stack)
        check_seen(stack)
        stack.run("stop")
        codes = stack.exit_codes()
        assert {codes[service] for service in SERVICES} == {0}, codes
        assert KILLED not in codes.values(), codes
        stack.run("rm", "--force", "-v")  # containers and nameless volumes; those of the file stay
        stack.run("up", "--detach")
        check_history()


def test_both_compose_programs_read_the_same_services() -> None:
    """Whatever compose programs are here agree on the file."""
    read = {program: ComposeProject(program).services() for program in compose.programs()}
    assert len({tuple(services) for services in read.values()}) == 1, read
    assert set(SERVICES) < set(next(iter(read.values())))
