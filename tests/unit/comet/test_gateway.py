"""The gateway without sockets: the schedule by which it closes sessions."""

import asyncio
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from comet import gateway as gateway_module
from comet.auth import Auth
from comet.gateway import Gateway
from common import lifecycle
from common.health import Health
from tests.support.comet_settings import comet_settings

SESSIONS = 40


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.now_s += seconds


class FakeTransport:
    """A transport with a session, which notes when it was closed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.session = object()
        self.closed_at: float | None = None

    def pause_reading(self) -> None:
        """Nothing comes anyway."""

    def resume_reading(self) -> None:
        """Likewise."""

    def close(self, _code: int) -> None:
        """Take note."""
        self.closed_at = self._clock.now_s

    def abort(self) -> None:
        """Nothing is left to hang up."""


@pytest.mark.parametrize("answer_s", [0.0, 0.05])
async def test_the_closes_are_spread_over_the_given_time_however_long_the_answers_take(
    answer_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time for answers is a part of the spread, not added to it: a drain has other steps behind this one."""
    clock, began = Clock(), 100.0
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    gateway = Gateway(comet_settings(), cast("Any", SimpleNamespace()), Auth("", []), Health())
    transports = [FakeTransport(clock) for _ in range(SESSIONS)]
    for transport in transports:
        gateway.opened(cast("Any", transport))
    gateway._empty.set()  # noqa: SLF001 - no client has to answer

    await gateway.drain(3.0, lambda: clock.sleep(answer_s))

    closed = sorted(transport.closed_at or 0.0 for transport in transports)
    assert clock.now_s - began == pytest.approx(3.0)
    assert closed == pytest.approx([began + answer_s + 3.0 * k / SESSIONS for k in range(SESSIONS)])


@pytest.mark.parametrize(
    ("files", "chosen", "takes", "warned"),
    [
        (1_048_576, {}, 100_000, False),
        (20_000, {}, 19_808, False),
        (4096, {}, 3904, True),
        (20_000, {"max_connections": 100_000}, 19_808, True),
        (4096, {"max_connections": 3000}, 3000, False),
        (4096, {"max_connections": 3905}, 3904, True),
    ],
)
async def test_few_open_files_are_worth_a_warning_only_where_they_are_too_few(
    monkeypatch: pytest.MonkeyPatch, files: int, chosen: dict[str, int], takes: int, warned: bool
) -> None:
    """For what the operator asked for, or else for a small node; a line at each start would be read by nobody."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(gateway_module.log, "warning", lambda _event, **fields: lines.append(fields), raising=False)
    monkeypatch.setattr(lifecycle, "file_limit", lambda: files)
    gateway = Gateway(comet_settings(**chosen), cast("Any", SimpleNamespace()), Auth("", []), Health())
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        await gateway.listen(sock)
        gateway.stop_listening()
    assert gateway._most == takes  # noqa: SLF001 - it shows only by as many connections
    assert lines == ([{"connections": takes, "files": files}] if warned else [])
