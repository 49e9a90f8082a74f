"""The hub heals itself: whatever the paths lose, each message reaches its room once; what is gone for good is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from comet.join import Join
from comet.room import HELD_BURSTS
from common.errors import Unavailable
from common.positions import Position
from tests.support.comet_settings import comet_settings
from tests.support.eventually import eventually
from tests.support.fake_log import Node, running
from tests.support.joining import once
from tests.support.rooms import Recorder, burst


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node."""
    async with running(Node()) as it:
        yield it


async def member_of(node: Node, name: str = "alice") -> Recorder:
    """Let somebody into room_1."""
    session = Recorder(name)
    await Join(node.hub, node.presences, session, "room_1", comet_settings()).fresh()
    return session


def sample(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def told(session: Recorder) -> list[dict[str, Any]]:
    """Return the payloads of the `joined` frames nobody asked for."""
    return [frame["payload"] for frame in session.frames if frame["type"] == "joined"]


# -- delivery ------------------------------------------------------------------------------------------------------


async def test_the_first_path_delivers_and_the_second_is_a_repeat(node: Node) -> None:
    """Whichever comes first; both are counted by path."""
    session = await member_of(node)
    names = [("pubsub", "delivered"), ("push", "duplicate"), ("push", "delivered"), ("pubsub", "duplicate")]
    before = [sample("comet_deliveries_total", path=path, result=result) for path, result in names]
    first, second = node.store.append(2), node.store.append(1)
    for one, paths in ((first, ("pubsub", "push")), (second, ("push", "pubsub"))):
        for path in paths:
            node.bring(one, path)
    await node.settle()
    assert session.seqs == [1, 2, 3]
    after = [sample("comet_deliveries_total", path=path, result=result) for path, result in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 2, 1, 1]


async def test_a_room_that_nobody_here_is_in_is_passed_over(node: Node) -> None:
    """The last member left while the message was on its way."""
    node.bring(node.store.append())
    assert node.hub.rooms == {}
    assert node.store.reads == 0


async def test_a_hole_is_read_from_the_stream_at_once(node: Node) -> None:
    """PubSub lost two messages; the third shows it."""
    session = await member_of(node)
    node.store.append(2)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [1, 2, 3]


async def test_many_bursts_above_a_hole_ask_the_stream_once(node: Node) -> None:
    """They are held meanwhile, within the bound."""
    session = await member_of(node)
    node.store.append()
    reads = node.store.reads
    for _ in range(50):
        node.bring(node.store.append())
    await node.settle()
    assert (session.seqs, node.store.reads - reads) == (list(range(1, 52)), 1)


async def test_a_hole_longer_than_one_read_is_read_in_pieces(node: Node) -> None:
    """REPAIR_MESSAGES at a time, in order."""
    session = await member_of(node)
    node.store.append(2500)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == list(range(1, 2502))


async def test_a_hole_is_read_again_when_redis_is_back(node: Node) -> None:
    """The read failed; the check of the tails finds the room behind."""
    session = await member_of(node)
    node.store.append()
    node.store.away = True
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == []
    node.store.away = False
    await node.hub.check()
    await node.settle()
    assert session.seqs == [1, 2]


async def test_the_check_finds_a_last_message_that_no_path_brought(node: Node) -> None:
    """Comparing tails shows what no later message would."""
    session = await member_of(node)
    node.store.append(3)
    before = sample("comet_repaired_messages_total")
    await node.hub.check()
    await node.settle()
    assert session.seqs == [1, 2, 3]
    assert sample("comet_repaired_messages_total") - before == 3


async def test_the_check_leaves_alone_what_pubsub_brings_meanwhile(node: Node) -> None:
    """A message on its way is given a moment: no read for it."""
    session = await member_of(node)
    one = node.store.append()
    reads = node.store.reads
    node.store.on_read = lambda: asyncio.get_running_loop().call_later(0.01, node.bring, one)
    await node.hub.check()
    await node.settle()
    assert (session.seqs, node.store.reads - reads) == ([1], 0)


async def test_messages_of_a_new_epoch_without_loss_arrive_without_a_word(node: Node) -> None:
    """Redis restarted and kept everything: seqs run on, and nobody is told of anything."""
    session = await member_of(node)
    node.bring(node.store.append(2))
    node.store.restart()
    node.bring(node.store.append(2))
    await node.settle()
    assert (session.seqs, told(session)) == ([1, 2, 3, 4], [])
    assert node.hub.rooms["room_1"].position == Position(2, 4)


async def test_several_epochs_may_have_passed_unseen(node: Node) -> None:
    """The repair goes through all of them."""
    session = await member_of(node)
    node.bring(node.store.append())
    for _ in range(3):
        node.store.restart()
        node.store.append(2)
    await node.hub.check()
    await node.settle()
    assert (session.seqs, told(session)) == (list(range(1, 8)), [])


# -- holes that stay -----------------------------------------------------------------------------------------------


async def test_a_hole_that_was_trimmed_away_is_told_once(node: Node) -> None:
    """An unasked `joined` with `recovered: false` goes on from the first message that is still there."""
    session = await member_of(node)
    node.bring(node.store.append(2))
    node.store.append(10)
    node.store.trim(before=8)
    before = sample("comet_told_holes_total")
    node.bring(node.store.append())
    await node.settle()
    [hole] = told(session)
    assert (hole["recovered"], hole["epoch"], hole["seq"], hole["onlineCount"]) == (False, 1, 13, 1)
    assert hole["tail"] == {"epoch": 1, "seq": 13}
    assert session.seqs == [1, 2, 8, 9, 10, 11, 12, 13]
    assert sample("comet_told_holes_total") - before == 1
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs[-2:] == [13, 14]


async def test_when_redis_lost_its_tail_the_room_goes_on_in_the_new_epoch(node: Node) -> None:
    """Members saw messages that the log no longer has: they are told, and get all of the new epoch."""
    session = await member_of(node)
    node.bring(node.store.append(10))
    node.store.restart(lost=4)
    node.bring(node.store.append(2))
    await node.settle()
    [hole] = told(session)
    assert (hole["recovered"], hole["epoch"], hole["seq"]) == (False, 2, 8)
    assert session.seqs == [*range(1, 11), 7, 8]


async def test_an_unasked_joined_names_the_tail_of_a_later_epoch(node: Node) -> None:
    """Its messages are of one epoch, and those of later ones follow."""
    session = await member_of(node)
    node.bring(node.store.append(10))
    node.store.restart(lost=4)
    node.store.append(2)
    node.store.restart()
    node.bring(node.store.append(1))
    await node.settle()
    [hole] = told(session)
    assert (hole["epoch"], hole["seq"], hole["tail"]) == (2, 8, {"epoch": 3, "seq": 9})
    assert session.seqs == [*range(1, 11), 7, 8, 9]


async def test_a_log_that_lost_its_tail_is_told_though_nobody_sends(node: Node) -> None:
    """The check finds it: members have seen what is gone. They are told once, and their positions never run back."""
    session = await member_of(node)
    node.bring(node.store.append(10))
    node.store.restart(lost=4)
    for _ in range(3):
        await node.hub.check()
        await node.settle()
    assert [(hole["recovered"], hole["epoch"], hole["seq"], hole["messages"]) for hole in told(session)] == [
        (False, 2, 6, [])
    ]
    node.bring(node.store.append(2))
    await node.settle()
    assert (session.seqs, len(told(session))) == ([*range(1, 11), 7, 8], 1)


async def test_a_log_that_is_gone_altogether_says_nothing(node: Node) -> None:
    """It expires when nobody sends for long; who is in the room is told with the next message."""
    session = await member_of(node)
    node.bring(node.store.append(3))
    node.store.restart(lost=3)
    await node.hub.check()
    await node.settle()
    assert told(session) == []
    node.bring(node.store.append())
    await node.settle()
    assert (len(told(session)), session.seqs) == (1, [1, 2, 3, 1])


async def test_a_hole_told_over_several_epochs_comes_in_frames_of_one_epoch_each(node: Node) -> None:
    """The unasked `joined` ends where its epoch does; the rest follows as messages."""
    session = await member_of(node)
    node.bring(node.store.append(2))
    node.store.append(5)
    node.store.restart()
    node.store.append(2)
    node.store.trim(before=6)
    await node.hub.check()
    await node.settle()
    [hole] = told(session)
    assert (hole["epoch"], hole["seq"], [one["seq"] for one in hole["messages"]]) == (1, 7, [6, 7])
    assert (session.seqs, session.frames[-1]["payload"]["epoch"]) == ([1, 2, 6, 7, 8, 9], 2)


async def test_an_epoch_in_which_nothing_was_sent_is_entered(node: Node) -> None:
    """Whoever looked opened it: the room goes there, and nobody is told of anything."""
    session = await member_of(node)
    node.bring(node.store.append(2))
    node.store.restart()
    await node.store.read("room_1", 0, 0)
    await node.hub.check()
    await node.settle()
    assert (node.hub.rooms["room_1"].position, told(session)) == (Position(2, 2), [])


async def test_what_is_not_held_for_want_of_room_is_read_from_the_stream(node: Node) -> None:
    """Also where the reading failed before: the burst that is dropped has it read again."""
    session = await member_of(node)
    node.store.append()
    node.store.away = True
    for _ in range(HELD_BURSTS):
        node.bring(node.store.append())
    await node.settle()
    node.store.away = False
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == list(range(1, HELD_BURSTS + 3))


async def test_a_hole_told_goes_on_in_pieces_where_much_follows(node: Node) -> None:
    """What did not fit into the unasked `joined` comes as messages, in order."""
    session = await member_of(node)
    node.bring(node.store.append())
    node.store.append(3000)
    node.store.trim(before=501)
    node.bring(node.store.append())
    await node.settle()
    assert len(told(session)) == 1
    assert session.seqs == [1, *range(501, 3003)]


async def test_who_joins_while_a_hole_is_told_is_not_told(node: Node) -> None:
    """The flush with the unasked `joined` is for those who were there."""
    session = await member_of(node)
    node.bring(node.store.append(2))
    node.store.append(10)
    node.store.trim(before=8)
    node.bring(node.store.append())
    await node.settle()
    late = await member_of(node, "late")
    await node.settle()
    assert (len(told(session)), late.texts) == (1, [])


@pytest.mark.parametrize("at_read", [1, 2])
async def test_a_hole_that_a_late_push_fills_while_it_is_looked_into_is_no_hole(node: Node, at_read: int) -> None:
    """Kafka may still carry what the stream no longer holds; nothing is told and nothing sent twice."""
    session = await member_of(node)
    node.bring(node.store.append(2))
    missing = node.store.append(5)
    node.store.trim(before=8)
    before = node.store.reads

    def race() -> None:
        if node.store.reads - before == at_read:
            node.bring(missing, "push")

    node.store.on_read = race
    node.bring(node.store.append())
    await node.settle()
    assert (told(session), session.seqs) == ([], [1, 2, 3, 4, 5, 6, 7, 8])


# -- rooms come and go ---------------------------------------------------------------------------------------------


async def test_a_room_lives_from_its_first_member_to_its_last(node: Node) -> None:
    """Subscribed while somebody is in it; each coming and going is told to the registry's writer."""
    one = await member_of(node)
    two = await member_of(node, "bob")
    room = node.hub.rooms["room_1"]
    node.hub.leave(room, one)
    assert node.pubsub.subscribed == {"room_1"}
    node.hub.leave(room, two)
    assert (node.hub.rooms, node.pubsub.subscribed) == ({}, set())
    assert node.changed == ["room_1"] * 5


async def test_a_room_that_ends_while_it_is_repaired_is_left_alone(node: Node) -> None:
    """The repair notices, and the room that takes its name starts from the log."""
    session = await member_of(node)
    node.store.append(5)
    room = node.hub.rooms["room_1"]
    node.store.on_read = lambda: node.hub.leave(room, session)
    node.bring(node.store.append())
    await node.settle()
    node.store.on_read = lambda: None
    again = await member_of(node)
    node.bring(node.store.append())
    await node.settle()
    assert (session.seqs, again.seqs) == ([], [7])


async def test_what_pubsub_brings_while_a_room_starts_is_not_lost(node: Node) -> None:
    """Subscribed first, read then: a message between the two comes by either, once."""
    node.store.append(3)
    node.store.on_read = lambda: node.bring(node.store.append())
    session = await member_of(node)
    node.store.on_read = lambda: None
    await node.settle()
    assert node.hub.rooms["room_1"].position == Position(1, 4)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [5]


async def test_what_is_stored_while_a_room_is_subscribed_is_there_at_once(node: Node) -> None:
    """PubSub did not bring it, so the log is read after that, and nobody waits for the check of the tails."""
    node.store.append(3)
    node.pubsub.on_subscribe = node.store.append
    session = await member_of(node)
    assert node.hub.rooms["room_1"].position == Position(1, 4)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [5]


async def test_a_hole_below_what_came_while_a_room_started_is_read_at_once(node: Node) -> None:
    """PubSub lost two messages behind the read and brought the third: nothing else would tell of them."""
    node.store.append(3)

    def lose_two() -> None:
        node.store.append(2)
        node.bring(node.store.append())

    node.store.on_read = once(lose_two)
    session = await member_of(node)
    await node.settle()
    assert node.hub.rooms["room_1"].position == Position(1, 6)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [7]


async def test_a_repair_reads_again_what_was_lost_while_it_read(node: Node) -> None:
    """Who asks for it, a join or a push, is answered when nothing is held any more."""
    session = await member_of(node)
    node.store.append(2)

    def lose_one() -> None:
        node.store.append()
        node.bring(node.store.append())

    node.store.on_read = once(lose_one)
    await node.hub.repair(room := node.hub.rooms["room_1"])
    assert (room.position, room.held) == (Position(1, 4), {})
    await node.settle()
    assert session.seqs == [1, 2, 3, 4]


async def test_the_check_goes_on_when_redis_is_back(node: Node) -> None:
    """One that fails ends nothing."""
    session = await member_of(node)
    node.store.away = True
    node.hub.check_soon()
    await node.settle()
    node.store.away = False
    node.store.append()
    node.hub.check_soon()
    await eventually(lambda: session.seqs == [1])


async def test_a_node_that_does_not_run_lets_nobody_in() -> None:
    """Before it runs and after it stopped."""
    node = Node()
    with pytest.raises(Unavailable):
        await member_of(node)
    assert node.hub.rooms == {}


async def test_a_raw_text_reaches_everybody_in_the_room(node: Node) -> None:
    """In turn with messages; a room that nobody is in swallows it."""
    session = await member_of(node)
    node.bring(burst(1))
    node.hub.deliver_raw("room_1", "hello all")
    node.hub.deliver_raw("room_2", "nobody")
    await node.settle()
    assert session.texts[1:] == ["hello all"]
