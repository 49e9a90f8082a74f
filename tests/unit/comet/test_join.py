"""Who joins gets exactly what was missed and then what comes: no hole and no repeat, however messages race with it."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from comet.join import Join
from common.positions import Position
from tests.support.comet_settings import comet_settings
from tests.support.eventually import eventually
from tests.support.fake_log import Node, running
from tests.support.joining import after, by_epoch, in_room, join, joined, once, resumed
from tests.support.rooms import Recorder


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node."""
    async with running(Node(history=5)) as it:
        yield it


class Undrained(Recorder):
    """A client that takes what it was sent only when `took` is set, each time anew."""

    def __init__(self) -> None:
        super().__init__()
        self.took = asyncio.Event()

    async def drained(self) -> None:
        """As Session.drained."""
        self.took.clear()
        await self.took.wait()


# -- without a position --------------------------------------------------------------------------------------------


async def test_a_room_without_a_log_is_joined_at_its_beginning(node: Node) -> None:
    """Position (0, 0), nothing recovered, nothing missing; the first message ever arrives."""
    session = await resumed(node, None)
    assert joined(session) == {
        "roomId": "room_1", "epoch": 0, "seq": 0, "tail": {"epoch": 0, "seq": 0}, "recovered": True, "messages": [],
        "onlineCount": 1
    }  # fmt: skip
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [1]


async def test_joining_anew_shows_the_newest_messages(node: Node) -> None:
    """At most `join_messages`, and then what comes."""
    node.store.append(8)
    session = await resumed(node, None)
    assert (joined(session)["seq"], joined(session)["epoch"], joined(session)["recovered"]) == (8, 1, True)
    assert joined(session)["tail"] == {"epoch": 1, "seq": 8}
    node.bring(node.store.append(2))
    await node.settle()
    assert session.seqs == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(("length", "more"), [(0, False), (5, False), (6, True)])
async def test_a_hello_tells_whether_there_are_older_messages(node: Node, length: int, more: bool) -> None:
    """`hasMoreMessages` is about what lies before the ones shown."""
    if length:
        node.store.append(length)
    text = await join(node, Recorder()).fresh()
    assert (b'"hasMoreMessages":true' in text) is more


async def test_a_room_known_to_the_node_is_joined_without_asking_redis(node: Node) -> None:
    """The ring has the newest messages."""
    await in_room(node)
    for _ in range(7):
        node.bring(node.store.append())
    reads = node.store.reads
    session = await resumed(node, None)
    assert (session.seqs, node.store.reads) == ([3, 4, 5, 6, 7], reads)


# -- with a position -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", [0, 3, 17, 20])
async def test_exactly_what_was_missed_is_replayed(node: Node, since: int) -> None:
    """From since + 1 up to the tail, from the ring or from the stream, then live."""
    node.store.append(20)
    session = await resumed(node, Position(1, since))
    assert joined(session)["recovered"] is True
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == list(range(since + 1, 22))


async def test_what_the_ring_holds_is_replayed_without_asking_redis(node: Node) -> None:
    """Most resumes after a short break cost Redis nothing."""
    await in_room(node)
    for _ in range(9):
        node.bring(node.store.append())
    reads = node.store.reads
    session = await resumed(node, Position(1, 2))
    assert (session.seqs, node.store.reads) == ([3, 4, 5, 6, 7, 8, 9], reads)
    assert (joined(session)["epoch"], joined(session)["seq"]) == (1, 9)


async def test_what_does_not_fit_into_joined_follows_before_anything_live(node: Node) -> None:
    """`recovery_limit` messages a frame, in order, each position that of the last message so far."""
    node.store.append(35)
    session = await resumed(node, Position(1, 2))
    assert (joined(session)["seq"], len(joined(session)["messages"])) == (12, 10)
    assert joined(session)["tail"] == {"epoch": 1, "seq": 35}
    assert {frame["type"] for frame in session.frames[1:]} == {"serverMessages"}
    assert session.seqs == list(range(3, 36))


async def test_a_client_that_reads_nothing_costs_one_page(node: Node) -> None:
    """The next page is read once the client has taken the last one: what it does not take lies in our memory."""
    node.store.append(100)
    session = Undrained()
    joining = asyncio.create_task(join(node, session).resume(Position(1, 2)))
    await node.settle()
    assert session.seqs == list(range(3, 13))
    for _ in range(3):
        session.took.set()
        await node.settle()
    assert session.seqs == list(range(3, 43))
    session.ended = True
    session.took.set()
    await joining


async def test_a_recovery_runs_over_an_epochs_beginning_in_frames_of_one_epoch_each(node: Node) -> None:
    """Where Redis lost nothing, seqs run on; a `joined` ends where its epoch does, and the rest follows."""
    node.store.append(4)
    for _ in range(2):
        node.store.restart()
        node.store.append(2)
    session = await resumed(node, Position(1, 2))
    assert (joined(session)["recovered"], joined(session)["epoch"], joined(session)["seq"]) == (True, 1, 4)
    assert joined(session)["tail"] == {"epoch": 3, "seq": 8}
    assert by_epoch(session) == [(1, [3, 4]), (2, [5, 6]), (3, [7, 8])]


async def test_the_newest_messages_of_several_epochs_come_in_frames_of_one_epoch_each(node: Node) -> None:
    """Of those shown to who joins anew; and in a hello, behind which the later ones follow. `tail` covers them all."""
    node.store.append(4)
    node.store.restart()
    node.store.append(2)
    session = await resumed(node, None)
    assert (joined(session)["recovered"], joined(session)["epoch"], joined(session)["seq"]) == (True, 1, 4)
    assert joined(session)["tail"] == {"epoch": 2, "seq": 6}
    assert by_epoch(session) == [(1, [2, 3, 4]), (2, [5, 6])]
    greeted = Recorder()
    hello = orjson.loads(await join(node, greeted).fresh())
    assert ([one["seq"] for one in hello["messages"]], hello["epoch"], hello["seq"]) == ([2, 3, 4], 1, 4)
    assert hello["tail"] == {"epoch": 2, "seq": 6}
    assert by_epoch(greeted) == [(2, [5, 6])]


async def test_after_a_restart_in_which_nothing_was_sent_the_newest_messages_are_shown(node: Node) -> None:
    """Their position is recovered later as any other; one told to who resumes is of the new epoch."""
    node.store.append(8)
    node.store.restart()
    session = await resumed(node, None)
    assert (by_epoch(session), joined(session)["seq"]) == ([(1, [4, 5, 6, 7, 8])], 8)
    late = await resumed(node, Position(1, 8))
    assert (joined(late)["recovered"], joined(late)["epoch"], joined(late)["seq"], late.seqs) == (True, 2, 8, [])


@pytest.mark.parametrize(
    ("since", "why"),
    [
        (Position(1, 3), "trimmed"),
        (Position(1, 21), "above the tail"),
        (Position(9, 15), "of no known epoch"),
        (Position(1, 18), "lost with Redis's tail"),
    ],
)
async def test_what_cannot_be_recovered_is_told(node: Node, since: Position, why: str) -> None:
    """`recovered: false` with the newest messages of the present epoch, and live from there."""
    assert why
    node.store.append(18)
    node.store.restart(lost=2)
    node.store.append(4)
    node.store.trim(before=10)
    session = await resumed(node, since)
    assert (joined(session)["recovered"], joined(session)["epoch"], joined(session)["seq"]) == (False, 2, 20)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [17, 18, 19, 20, 21]


async def test_a_log_trimmed_while_it_is_replayed_is_told(node: Node) -> None:
    """Part is sent already, so a second `joined` says that there is a hole, and the session is in the room."""
    node.store.append(30)
    await in_room(node)
    node.store.on_read = once(lambda: node.store.trim(before=20))
    session = Recorder("late")
    await join(node, session).resume(Position(1, 2))
    told = [frame["payload"]["recovered"] for frame in session.frames if frame["type"] == "joined"]
    assert (told, session.seqs) == ([True, False], [*range(3, 13), *range(26, 31)])
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs[-1] == 31


async def test_once_joined_is_out_redis_is_waited_for(node: Node) -> None:
    """The client takes itself to be in the room, so an error now would leave it outside without knowing."""
    node.store.append(30)
    session = Recorder()
    node.store.on_ask = after(3, lambda: setattr(node.store, "away", True))
    joining = asyncio.create_task(join(node, session).resume(Position(1, 2)))
    await eventually(lambda: node.store.reads > 4)
    assert (session.seqs, joining.done()) == (list(range(3, 13)), False)
    node.store.away = False
    await joining
    assert session.seqs == list(range(3, 31))


async def test_a_client_that_goes_while_redis_is_waited_for_ends_its_join(node: Node) -> None:
    """Nobody is left to wait for."""
    node.store.append(30)
    session = Recorder()
    node.store.on_ask = after(3, lambda: setattr(node.store, "away", True))
    joining = asyncio.create_task(join(node, session).resume(Position(1, 2)))
    await eventually(lambda: session.seqs)
    session.ended = True
    with pytest.raises(ConnectionError):
        await joining
    assert node.hub.rooms == {}


async def test_however_many_pieces_it_takes_everything_missed_is_replayed() -> None:
    """A recovery that was begun has no bound but the log's own."""
    async with running(Node(history=5)) as node:
        node.store.append(2500)
        session = Recorder()
        config = comet_settings(recovery_limit=1)
        await Join(node.hub, node.presences, session, "room_1", config).resume(Position(1, 0))
    assert session.seqs == list(range(1, 2501))
    assert {len(frame["payload"]["messages"]) for frame in session.frames[:2400]} == {1}
