"""testbed/stack.py: services are led to each other, and every line may be led through something else."""

from pathlib import Path
from typing import Any

import pytest

from chatroom.up.guard import Guard
from testbed.stack import LOGIC, PUSH, REDIS, Stack

REDIS_URL = "redis://127.0.0.1:6379/0"


@pytest.fixture
def servers(guard: Guard, tmp_path: Path) -> dict[str, Any]:
    """The arguments that every stack takes."""
    return {
        "guard": guard,
        "directory": tmp_path,
        "redis_url": REDIS_URL,
        "brokers": "127.0.0.1:9092",
        "topic": "a-topic",
    }


def test_services_share_the_servers_and_nodes_find_logic(servers: dict[str, Any]) -> None:
    """Job calls each node at its own port on loopback."""
    stack = Stack(**servers, comets=2)
    assert [service.name for service in stack.services] == ["logic", "comet-0", "comet-1", "job"]
    assert {service.settings["CHAT_REDIS_URL"] for service in stack.services} == {REDIS_URL}
    assert {service.settings["CHAT_KAFKA_TOPIC"] for service in stack.services} == {"a-topic"}
    for node in stack.comets:
        assert node.settings["COMET_FORWARD_URL"] == stack.logic.http_url
        assert node.settings["COMET_ADVERTISE_ADDRESS"] == f"127.0.0.1:{node.grpc_port}"
    assert stack.comets[0].port != stack.comets[1].port


def test_every_line_goes_through_the_hook(servers: dict[str, Any]) -> None:
    """One to Redis for each service, and each node's to Logic and from the Jobs."""
    stack = Stack(**servers, line=lambda name, line, address: f"{name} {line} {address}")
    [node], [job] = stack.comets, stack.jobs
    assert stack.logic.settings["CHAT_REDIS_URL"] == f"logic {REDIS} {REDIS_URL}"
    assert job.settings["CHAT_REDIS_URL"] == f"job {REDIS} {REDIS_URL}"
    assert node.settings["CHAT_REDIS_URL"] == f"comet {REDIS} {REDIS_URL}"
    assert node.settings["COMET_FORWARD_URL"] == f"comet {LOGIC} {stack.logic.http_url}"
    assert node.settings["COMET_ADVERTISE_ADDRESS"] == f"comet {PUSH} 127.0.0.1:{node.grpc_port}"


def test_chosen_settings_win(servers: dict[str, Any]) -> None:
    """Over those of the stack, in every service that has them."""
    stack = Stack(**servers, settings={"CHAT_KAFKA_TOPIC": "another", "COMET_FORWARD_URL": "http://gate:1"})
    assert {service.settings["CHAT_KAFKA_TOPIC"] for service in stack.services} == {"another"}
    assert stack.comets[0].settings["COMET_FORWARD_URL"] == "http://gate:1"


def test_a_runner_runs_each_service(servers: dict[str, Any]) -> None:
    """Between Python and the service's module."""
    stack = Stack(**servers, runner=["a.runner", "an argument"])
    assert [service.argv()[1:] for service in stack.services] == [
        ["-m", "a.runner", "an argument", module] for module in ("logic", "comet", "job")
    ]
