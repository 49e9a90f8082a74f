"""The address that a node registers: of the right family, and never a loopback one in silence."""

import fcntl
import socket
import struct
from pathlib import Path
from typing import Self

import pytest

from comet import address
from common.health import Health
from tests.support.comet_settings import comet_settings

ROUTED4, ROUTED6 = "10.0.0.7", "2a01:4f8::7"
INET6 = "{} 02 40 {} {} eth0\n"
FD00, FE80, ONE = "fd00" + "0" * 27 + "1", "fe80" + "0" * 27 + "1", "0" * 31 + "1"


class Machine:
    """What the kernel says of routes and interfaces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.routes: dict[int, str] = {}
        self.interfaces: dict[str, str] = {"lo": "127.0.0.1"}
        self.inet6 = folder / "if_inet6"
        monkeypatch.setattr(socket, "socket", self._socket)
        monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(self.interfaces)))
        monkeypatch.setattr(fcntl, "ioctl", self._ioctl)
        monkeypatch.setattr(address, "_IF_INET6", self.inet6)

    def _socket(self, family: int, _kind: int) -> "_Socket":
        return _Socket(self.routes.get(family))

    def _ioctl(self, _sock: object, _number: int, asked: bytes) -> bytes:
        found = self.interfaces[asked.rstrip(b"\0").decode()]
        if not found:
            raise OSError("no address")
        return struct.pack("20s4s", b"", socket.inet_aton(found))


class _Socket:
    """A UDP socket that knows one route, or none."""

    def __init__(self, route: str | None) -> None:
        self._route = route

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, _target: object) -> None:
        """Look the route up."""
        if self._route is None:
            raise OSError("network is unreachable")

    def getsockname(self) -> tuple[str | None, int]:
        """The sender's address."""
        return self._route, 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine with nothing but loopback."""
    return Machine(monkeypatch, tmp_path)


def test_ipv4_comes_before_ipv6(machine: Machine) -> None:
    """Where both have a route."""
    machine.routes = {socket.AF_INET: ROUTED4, socket.AF_INET6: ROUTED6}
    assert address.own_address() == ROUTED4


def test_a_route_comes_before_a_bridge_for_containers(machine: Machine) -> None:
    """A host that has only IPv6 outside may have an IPv4 bridge inside."""
    machine.routes = {socket.AF_INET6: ROUTED6}
    machine.interfaces["docker0"] = "172.17.0.1"
    assert address.own_address() == ROUTED6


def test_without_a_route_an_interface_tells(machine: Machine) -> None:
    """A network that leads nowhere has addresses all the same; loopback, link-local and unready ones are none."""
    machine.inet6.write_text(
        INET6.format(ONE, "10", "80")
        + INET6.format(FE80, "20", "80")
        + INET6.format(FD00[:-1] + "2", "00", "40")
        + INET6.format(FD00, "00", "80")
    )
    assert address.own_address() == "fd00::1"
    machine.interfaces |= {"down0": "", "eth0": "192.168.7.7"}
    assert address.own_address() == "192.168.7.7"


def test_a_machine_without_any_address_has_none(machine: Machine) -> None:
    """Also where there is no file of addresses, as on macOS."""
    machine.routes = {socket.AF_INET: "127.0.0.1"}
    assert address.own_address() == ""


@pytest.mark.parametrize("bind_ip", ["0.0.0.0", "::", ""])  # noqa: S104 - looked at, not bound
def test_a_node_that_listens_everywhere_registers_its_address_in_brackets(machine: Machine, bind_ip: str) -> None:
    """As grpc reads it; there is nothing to warn of."""
    machine.routes = {socket.AF_INET6: ROUTED6}
    health = Health()
    assert address.advertised(comet_settings(http_bind_ip=bind_ip), health) == f"[{ROUTED6}]:50051"
    assert health.report()["status"] == "ok"


@pytest.mark.parametrize(
    ("settings", "registered"),
    [
        ({"http_bind_ip": "fd00::7"}, "[fd00::7]:50051"),
        ({"http_bind_ip": "::1"}, "[::1]:50051"),
        ({"http_bind_ip": "localhost"}, "localhost:50051"),
        ({"http_bind_ip": "127.0.0.2"}, "127.0.0.2:50051"),
        ({"advertise_address": "comet:1"}, "comet:1"),
        ({"advertise_address": "[fd00::8]:1", "redis_url": "redis://redis:6379"}, "[fd00::8]:1"),
        ({"advertise_address": "[::1]:1"}, "[::1]:1"),  # Redis is here as well: told to be one machine
    ],
)
@pytest.mark.usefixtures("machine")
def test_what_is_bound_to_or_told_is_registered_as_it_is(settings: dict[str, str], registered: str) -> None:
    """Without a warning, where it says what it means."""
    health = Health()
    assert address.advertised(comet_settings(**settings), health) == registered
    assert not health.warnings


@pytest.mark.parametrize(
    ("settings", "registered"),
    [
        ({}, "127.0.0.1:50051"),
        ({"http_bind_ip": "192.168.7.7", "advertise_address": "localhost:2", "redis_url": "redis://r"}, "localhost:2"),
        ({"advertise_address": "[::1]:2", "redis_url": "rediss://[fd00::1]:6379/0"}, "[::1]:2"),
    ],
)
@pytest.mark.usefixtures("machine")
def test_a_loopback_address_of_a_node_that_listens_beyond_is_a_warning(
    settings: dict[str, str], registered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log and in /readyz, with the settings to change."""
    health = Health()
    assert address.advertised(comet_settings(**settings), health) == registered
    assert health.report()["status"] == "degraded"
    assert f"registers {registered}" in health.warnings["advertise_address"]
    assert "COMET_ADVERTISE_ADDRESS" in health.warnings["advertise_address"]
    assert "The node registers a loopback address" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("host", "shown"), [("192.0.2.7", "192.0.2.7:1"), ("::ffff:192.0.2.7", "192.0.2.7:1"), ("fd00::7", "[fd00::7]:1")]
)
def test_an_address_is_shown_as_its_family_writes_it(host: str, shown: str) -> None:
    """A socket for both families names an IPv4 peer as a mapped IPv6 address."""
    assert address.joined(host, 1) == shown
