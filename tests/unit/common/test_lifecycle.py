"""From start to exit code: a taken port is named, a failed start is one line, a signal drains."""

import errno
import os
import resource
import signal
import socket

import pytest

from common import lifecycle
from common.errors import SettingError, StartupError


@pytest.fixture
def taken() -> socket.socket:
    """A port that somebody listens on."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def test_a_taken_port_is_named_with_its_setting(taken: socket.socket) -> None:
    """In one line that says what to do."""
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as failed:
            lifecycle.listen("127.0.0.1", port, "grpc_port (COMET_GRPC_PORT)")
    assert str(failed.value) == (
        f"port {port} on 127.0.0.1 is in use by another program: stop that program, "
        "or change the setting grpc_port (COMET_GRPC_PORT)"
    )


@pytest.mark.parametrize(("host", "says"), [("192.0.2.1", "does not have"), ("no such host", "port 8082")])
def test_an_address_that_is_not_ours_is_named(host: str, says: str) -> None:
    """Likewise."""
    with pytest.raises(StartupError, match=says):
        lifecycle.listen(host, 8082, "http_bind_ip")


def test_a_free_port_is_listened_on(taken: socket.socket) -> None:
    """And can be taken again at once after it was let go."""
    taken.close()
    for _ in range(2):
        sock = lifecycle.listen("127.0.0.1", 0, "x")
        with sock, socket.create_connection(sock.getsockname(), 5):
            assert sock.gettimeout() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])  # noqa: S104 - closed at once
def test_either_wildcard_listens_on_both_families(host: str) -> None:
    """As gRPC does it, and servers in Go."""
    with lifecycle.listen(host, 0, "x") as sock:
        port = sock.getsockname()[1]
        for called in ("127.0.0.1", "::1"):
            socket.create_connection((called, port), 5).close()


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_an_address_listens_on_itself_alone(host: str, other: str) -> None:
    """No other family is opened by it."""
    with lifecycle.listen(host, 0, "x") as sock:
        port = sock.getsockname()[1]
        socket.create_connection((host, port), 5).close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((other, port), 5)


def test_without_ipv6_a_wildcard_means_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel may be built or started without it."""
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "not supported")
        return real(family, kind)

    monkeypatch.setattr("common.lifecycle.socket.socket", without_ipv6)
    with lifecycle.listen("::", 0, "x") as sock:
        assert sock.getsockname()[0] == "0.0.0.0"  # noqa: S104 - compared with


def test_a_failed_start_is_one_line_a_fault_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Also out of groups within groups; the highest code wins."""

    async def main(_stop: lifecycle.StopRequest) -> None:
        raise ExceptionGroup("a", [StartupError("one"), ExceptionGroup("b", [SettingError("two")])])

    assert lifecycle.run(main) == 2
    assert capsys.readouterr().err.splitlines() == ["one", "two"]


def test_other_errors_are_not_hidden() -> None:
    """A fault of ours ends with its traceback."""

    async def main(_stop: lifecycle.StopRequest) -> None:
        raise RuntimeError("a fault")

    with pytest.raises((RuntimeError, ExceptionGroup)):
        lifecycle.run(main)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(signum: signal.Signals) -> None:
    """The service drains and ends with 0."""

    async def main(stop: lifecycle.StopRequest) -> None:
        assert not stop.made
        os.kill(os.getpid(), signum)
        assert await stop.wait() == signum.name
        assert stop.made

    assert lifecycle.run(main) == 0


def test_the_second_signal_ends_the_program_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request by the program itself never does."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    stop = lifecycle.StopRequest()
    stop.make("no terminal")
    stop.make("no terminal")
    assert codes == []
    stop.on_signal(signal.SIGINT)
    assert codes == [130]


class Limits:
    """The system's limits of open files; it refuses to set more than `most`."""

    def __init__(self, soft: int, hard: int, most: int) -> None:
        self.now = (soft, hard)
        self._most = most

    def get(self, _which: int) -> tuple[int, int]:
        """Return both."""
        return self.now

    def set(self, _which: int, wanted: tuple[int, int]) -> None:
        """Set both, or refuse."""
        if not 0 <= wanted[0] <= self._most:
            raise ValueError("not allowed to raise maximum limit")
        self.now = wanted


@pytest.mark.parametrize(
    ("soft", "hard", "most", "raised"),
    [
        (1024, 20_000, 20_000, 20_000),
        (20_000, 20_000, 20_000, 20_000),
        (256, resource.RLIM_INFINITY, 122_880, 65_536),  # as on macOS
        (256, resource.RLIM_INFINITY, 10_240, 10_240),
        (70_000, resource.RLIM_INFINITY, 122_880, 70_000),
        (256, 1024, 100, 256),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_the_system_lets(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int, raised: int
) -> None:
    """To the hard one, or to a usual one where that is refused; never lowered."""
    limits = Limits(soft, hard, most)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    lifecycle.raise_file_limit()
    assert (lifecycle.file_limit(), limits.now[1]) == (raised, hard)


def test_no_limit_of_open_files_is_a_large_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's number for it is -1."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert lifecycle.file_limit() > 2**60
