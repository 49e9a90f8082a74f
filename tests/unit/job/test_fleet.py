"""The fleet: one pusher for each living node, stand-ins only while there is none."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.registry import Node
from job import fleet as module
from job.fleet import Fleet
from job.record import ABANDONED, PUSH, PUSHED
from tests.support.task_groups import cancelled_group
from tests.unit.job.fakes import FakeNode, Finished, room_record, single_record

A, B = Node("a", "host-a:1"), Node("b", "host-b:2")


class Connections(dict[str, FakeNode]):
    """Nodes by the address that they were connected at."""

    def __call__(self, address: str) -> FakeNode:
        """Connect."""
        return self.setdefault(address, FakeNode())


@pytest.fixture
def connections() -> Connections:
    """None yet."""
    return Connections()


@pytest.fixture
async def fleet(connections: Connections) -> AsyncIterator[Fleet]:
    """A fleet with one stand-in."""
    async with cancelled_group() as tasks:
        yield Fleet(tasks, connections, ["stand:1"], 5.0)
    assert all(node.closed for node in connections.values())


async def test_it_has_a_pusher_for_each_living_node(fleet: Fleet, connections: Connections) -> None:
    """Connected once, by address, however often it is told."""
    fleet.adopt({"a": A})
    fleet.adopt({"a": A, "b": B})
    assert [pusher.name for pusher in fleet.everyone] == ["a", "b"]
    assert sorted(connections) == ["host-a:1", "host-b:2"]
    assert fleet.registered
    assert fleet.get("a") is fleet.everyone[0]
    assert fleet.get("c") is None


async def test_who_left_is_abandoned_soon(
    fleet: Fleet, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a call is open; unless who is missing may live all the same."""
    monkeypatch.setattr("job.fleet.GRACE_S", 0.01)
    finished = Finished()
    fleet.adopt({"a": A, "b": B})
    connections["host-a:1"].free.clear()
    fleet.everyone[0].push_room(room_record(finished))
    await connections["host-a:1"].until_called()
    fleet.adopt({"b": B}, keep_missing=True)
    await asyncio.sleep(0.02)
    assert (len(finished), len(fleet.everyone)) == (0, 2)
    fleet.adopt({"b": B})
    await finished.until(1)
    assert finished.results == [ABANDONED]
    assert fleet.get("a") is None
    assert connections["host-a:1"].closed


async def test_who_left_still_gets_what_it_was_given(fleet: Fleet, connections: Connections) -> None:
    """It drains and has sessions yet; but it is given nothing more."""
    finished = Finished()
    fleet.adopt({"a": A, "b": B})
    node = connections["host-a:1"]
    node.free.clear()
    pusher = fleet.everyone[0]
    pusher.push_room(room_record(finished))
    pusher.push_single(single_record(finished, type=PUSH, keys=["u"]), ["u"])
    await node.until_called()
    fleet.adopt({"b": B})
    assert [one.name for one in fleet.everyone] == ["b"]
    assert fleet.get("a") is None
    await asyncio.sleep(0)
    node.free.set()
    await finished.until(2)
    assert finished.results == [PUSHED, PUSHED]


async def test_who_comes_back_has_one_pusher(
    fleet: Fleet, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the earlier one had is abandoned at once, lest it come behind what the new one gets."""
    monkeypatch.setattr(module, "GRACE_S", 60.0)
    finished = Finished()
    fleet.adopt({"a": A})
    connections["host-a:1"].free.clear()
    fleet.everyone[0].push_room(room_record(finished))
    await connections["host-a:1"].until_called()
    fleet.adopt({})
    fleet.adopt({"a": A})
    await finished.until(1)
    assert finished.results == [ABANDONED]


async def test_stand_ins_keep_what_they_took_when_the_first_node_comes(fleet: Fleet, connections: Connections) -> None:
    """They get no more, but what they have is pushed."""
    finished = Finished()
    fleet.adopt({})
    assert not fleet.registered
    assert [pusher.name for pusher in fleet.everyone] == ["stand:1"]
    connections["stand:1"].free.clear()
    fleet.everyone[0].push_room(room_record(finished))
    await connections["stand:1"].until_called()
    fleet.adopt({"a": A})
    assert [pusher.name for pusher in fleet.everyone] == ["a"]
    connections["stand:1"].free.set()
    await finished.until(1)
    assert finished.results == [PUSHED]
