"""Sessions that join a room of a node over fakes, and what they got."""

from collections.abc import Callable
from typing import Any

from comet.join import Join
from common.positions import Position
from tests.support.comet_settings import comet_settings
from tests.support.fake_log import Node
from tests.support.rooms import Recorder

CONFIG = comet_settings(join_messages=5, recovery_limit=10)


def join(node: Node, session: Recorder) -> Join:
    """Return a session's way into room_1."""
    return Join(node.hub, node.presences, session, "room_1", CONFIG)


async def resumed(node: Node, since: Position | None) -> Recorder:
    """Join and return the session."""
    session = Recorder()
    await join(node, session).resume(since)
    return session


async def in_room(node: Node) -> Recorder:
    """Let somebody else in, so that the room is live on this node."""
    session = Recorder("first")
    await join(node, session).fresh()
    session.writes.clear()
    return session


def joined(session: Recorder) -> dict[str, Any]:
    """Return the one `joined` frame, which comes before all else."""
    assert [frame["type"] for frame in session.frames].count("joined") == 1
    assert session.frames[0]["type"] == "joined"
    payload: dict[str, Any] = session.frames[0]["payload"]
    return payload


def by_epoch(session: Recorder) -> list[tuple[int, list[int]]]:
    """Return each frame's epoch and seqs, having looked whether its messages are of that epoch."""
    found = []
    for frame in session.frames:
        epoch, messages = frame["payload"]["epoch"], frame["payload"]["messages"]
        assert [one["content"] for one in messages] == [f"{epoch}:{one['seq']} " for one in messages]
        if messages:
            found.append((epoch, [one["seq"] for one in messages]))
    return found


def after(calls: int, action: Callable[[], object]) -> Callable[[], None]:
    """Do it at that call only, counted from now."""
    left = calls

    def act() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            action()

    return act


def once(action: Callable[[], object]) -> Callable[[], None]:
    """Do it at the first call only."""
    return after(1, action)
