"""Nodes that a test starts as it needs them, without a limit to the rate of messages."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pytest

from chatroom.up.guard import Guard
from testbed.service import CometProgram


class CometMaker(Protocol):
    """Starts a node."""

    def __call__(self, redis_url: str, **settings: str) -> CometProgram:
        """Return a running node. `settings` are named as in the environment."""


@contextmanager
def comet_maker(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometMaker]:
    """Start nodes while inside, and end them on the way out."""
    with ExitStack() as stack:

        def make(redis_url: str, **settings: str) -> CometProgram:
            quick = {"COMET_RATE_MESSAGES_PER_SECOND": "10000", "COMET_RATE_BURST_MESSAGES": "10000"}
            directory = tmp_path_factory.mktemp("comet")
            return stack.enter_context(CometProgram(guard, directory, redis_url, {**quick, **settings}))

        yield make
