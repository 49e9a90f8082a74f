"""`chatroom up` with quick stand-ins for the services: Redis, Kafka and every process are real."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.chatroom_up import ChatroomUp
from tests.conftest import StackMaker

ROOT = Path(__file__).parents[3]
# The stand-ins come before the real services.
PYTHONPATH = os.pathsep.join([str(ROOT / "tests" / "support" / "standins"), str(ROOT)])
UpMaker = Callable[..., ChatroomUp]


@pytest.fixture
def make_up(make_stack: StackMaker) -> UpMaker:
    """Make a stack of stand-ins; `environ` may hold STANDIN_<SERVICE>=refuse|crash|unready|deaf."""

    def make(*, environ: dict[str, str] | None = None, start: bool = True, **chosen: object) -> ChatroomUp:
        environ = {"PYTHONPATH": PYTHONPATH, **(environ or {})}
        return make_stack(environ=environ, start=start, **chosen)  # type: ignore[arg-type]  # as StackMaker says

    return make
