"""A room's messages reach its members in one write a flush, in order, however a broadcast is interrupted."""

import asyncio

import pytest

from comet import outbound
from comet.outbound import STRIDE, Outbound
from comet.room import Room
from common.positions import Position
from tests.support.rooms import Recorder, burst

MANY = STRIDE * 4


def crowded(count: int) -> tuple[Room, list[Recorder]]:
    """Return a live room and who is in it."""
    room = Room("room_1")
    room.start(Position(1, 0), [])
    members = [Recorder(f"user-{i}") for i in range(count)]
    for member in members:
        room.add(member)
    return room, members


def deliver(out: Outbound, room: Room, seq: int) -> None:
    """Bring the room a message, as the hub does."""
    room.offer(burst(seq), "pubsub")
    out.schedule(room)


async def settle() -> None:
    """Let the loop do what is scheduled."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yield after every stride, as in a huge room."""
    monkeypatch.setattr(outbound, "YIELD_S", -1.0)


async def test_what_comes_within_an_iteration_goes_out_in_one_write() -> None:
    """Nothing is written at once; then each member gets one write with all of it."""
    out = Outbound()
    room, members = crowded(3)
    for seq in (1, 2, 3):
        deliver(out, room, seq)
    assert [member.writes for member in members] == [[], [], []]
    await settle()
    assert [(len(member.writes), member.seqs) for member in members] == [(1, [1, 2, 3])] * 3


async def test_all_members_get_the_very_same_bytes() -> None:
    """A frame is put together once a flush, not once a member."""
    out = Outbound()
    room, members = crowded(2)
    deliver(out, room, 1)
    await settle()
    assert members[0].writes[0] is members[1].writes[0]


async def test_an_empty_room_or_one_without_messages_is_no_trouble() -> None:
    """Flushing nothing, or to nobody, does nothing."""
    out = Outbound()
    room, _ = crowded(0)
    out.schedule(room)
    deliver(out, room, 1)
    await settle()
    assert not room.waiting


@pytest.mark.usefixtures("hasty")
async def test_a_broadcast_yields_and_goes_on() -> None:
    """In a huge room others get the loop between strides; what comes meanwhile is the next flush, in order."""
    out = Outbound()
    room, members = crowded(MANY)
    deliver(out, room, 1)
    await asyncio.sleep(0)
    assert [bool(members[i].writes) for i in (0, STRIDE - 1, STRIDE, MANY - 1)] == [True, True, False, False]
    deliver(out, room, 2)
    deliver(out, room, 3)
    await settle()
    assert all(member.seqs == [1, 2, 3] for member in members)
    assert all(len(member.writes) == 2 for member in members)


@pytest.mark.usefixtures("hasty")
async def test_a_huge_room_does_not_hold_up_another() -> None:
    """A small room's message goes out while a huge one's broadcast is under way."""
    out = Outbound()
    huge, members = crowded(MANY)
    small, [other] = crowded(1)
    deliver(out, huge, 1)
    await asyncio.sleep(0)
    deliver(out, small, 1)
    await asyncio.sleep(0)
    assert (other.seqs, members[-1].seqs) == ([1], [])
    await settle()
    assert members[-1].seqs == [1]


@pytest.mark.usefixtures("hasty")
async def test_who_leaves_in_the_middle_of_a_broadcast_gets_nothing_more() -> None:
    """A yielded broadcast passes over who is gone."""
    out = Outbound()
    room, members = crowded(MANY)
    deliver(out, room, 1)
    await asyncio.sleep(0)
    room.remove(members[-1])
    await settle()
    assert (members[-1].seqs, members[-2].seqs) == ([], [1])


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("leaving", [True, False])
async def test_who_joins_anew_in_the_middle_of_a_broadcast_gets_no_repeat(leaving: bool) -> None:
    """He has the message in his `joined` already; from then on he gets all, in order."""
    out = Outbound()
    room, members = crowded(MANY)
    deliver(out, room, 1)
    await asyncio.sleep(0)
    for member in (members[0], members[-1]):
        if leaving:
            room.remove(member)
        room.add(member)
    deliver(out, room, 2)
    await settle()
    assert (members[0].seqs, members[-1].seqs, members[-2].seqs) == ([1, 2], [2], [1, 2])


@pytest.mark.usefixtures("hasty")
async def test_who_joins_in_the_middle_of_a_broadcast_gets_what_comes_later() -> None:
    """The flush under way and what waited behind it were accepted before he came."""
    out = Outbound()
    room, _ = crowded(MANY)
    deliver(out, room, 1)
    await asyncio.sleep(0)
    deliver(out, room, 2)
    late = Recorder("late")
    room.add(late)
    deliver(out, room, 3)
    await settle()
    assert late.seqs == [3]


async def test_a_member_cut_off_by_its_own_write_harms_nobody() -> None:
    """A write may end a session, which leaves its rooms, in the midst of the broadcast."""

    class Stuck(Recorder):
        def write(self, data: bytes, /) -> None:
            super().write(data)
            room.remove(self)

    out = Outbound()
    room, members = crowded(2)
    stuck = Stuck("stuck")
    room.add(stuck)
    late = Recorder("late")
    room.add(late)
    deliver(out, room, 1)
    await settle()
    deliver(out, room, 2)
    await settle()
    assert stuck.seqs == [1]
    assert [member.seqs for member in (*members, late)] == [[1, 2]] * 3
