"""A session deals with frames in their order, one at a time where it must wait, and never harms anybody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from comet import allowance, greeting
from comet.backlog import BACKLOG_BYTES, BACKLOG_FRAMES
from comet.join import Join
from common.errors import Unavailable
from common.store import Appended
from tests.support.fake_log import FakeStore
from tests.support.rooms import Recorder
from tests.support.session_rig import Rig, rigged


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A session in no room."""
    async with rigged() as it:
        await it.begin()
        it.transport.written.clear()
        yield it


# -- order ---------------------------------------------------------------------------------------------------------


async def test_frames_behind_one_that_waits_keep_their_order(rig: Rig) -> None:
    """A join waits for Redis; what came behind it is dealt with after it, in order, errors included."""
    rig.presences.gate.clear()
    rig.receive("joinRoom", roomId="room_1")
    rig.receive("ping")
    rig.say("one", ref="1")
    rig.session.receive(b"nonsense", text=True)
    rig.receive("leaveRoom", roomId="room_1")
    rig.receive("ping")
    await rig.node.settle()
    assert (rig.kinds, rig.store.contents) == ([], [])
    rig.presences.gate.set()
    await rig.node.settle()
    assert rig.kinds == ["joined", "pong", "error", "left", "pong"]
    assert rig.store.contents == ["one"]


async def test_messages_do_not_wait_for_one_another(rig: Rig) -> None:
    """The store's lane keeps their order, so a slow Redis costs a session nothing but the acks' delay."""
    await rig.enter("room_1")
    for i in range(5):
        rig.say(str(i), ref=str(i))
    assert rig.store.contents == ["0", "1", "2", "3", "4"]
    for seq, (_, _, future) in enumerate(rig.store.asked, 1):
        future.set_result(Appended(7, seq, [f"{seq}-0"]))
    await rig.node.settle()
    acks = [frame["payload"] for frame in rig.frames if frame["type"] == "ack"]
    assert [(ack["ref"], ack["messages"][0]["seq"]) for ack in acks] == [(str(i), i + 1) for i in range(5)]


async def test_a_socket_is_not_read_while_too_much_waits(rig: Rig) -> None:
    """Past BACKLOG_FRAMES, until there is room again; nothing of it is lost."""
    rig.presences.gate.clear()
    rig.receive("joinRoom", roomId="room_1")
    for i in range(BACKLOG_FRAMES - 1):
        rig.say(str(i))
    assert rig.transport.reading
    for i in range(BACKLOG_FRAMES - 1, BACKLOG_FRAMES + 10):  # one read may bring several
        rig.say(str(i))
    assert not rig.transport.reading
    rig.presences.gate.set()
    await rig.node.settle()
    assert rig.transport.reading
    assert rig.store.contents == [str(i) for i in range(BACKLOG_FRAMES + 10)]


async def test_a_socket_is_not_read_while_too_many_bytes_wait(rig: Rig) -> None:
    """Past BACKLOG_BYTES, however few frames they are; nothing of it is lost."""
    rig.presences.gate.clear()
    rig.receive("joinRoom", roomId="room_1")
    content = "x" * (BACKLOG_BYTES // 5)
    for _ in range(4):
        rig.say(content)
    assert rig.transport.reading
    for _ in range(2):
        rig.say(content)
    assert not rig.transport.reading
    rig.presences.gate.set()
    await rig.node.settle()
    assert rig.transport.reading
    assert rig.store.contents == [content] * 6


async def test_a_backlog_of_frames_that_each_wait_is_worked_through(rig: Rig) -> None:
    """One after the other; the socket is read again as soon as there is room."""
    for i in range(BACKLOG_FRAMES + 5):
        rig.receive("joinRoom", roomId=f"room_{i}")
    assert not rig.transport.reading
    for _ in range(20):
        await rig.node.settle()
    assert rig.transport.reading
    assert rig.kinds == ["joined"] * (BACKLOG_FRAMES + 5)


async def test_nothing_is_delivered_before_the_hello() -> None:
    """What the rooms bring while they are entered is kept back until it is out."""
    async with rigged() as rig:
        FakeStore.append(rig.store, 3)
        rig.store.on_read = lambda: rig.node.bring(FakeStore.append(rig.store))
        await rig.begin("room_1", "room_2")
        rig.store.on_read = lambda: None
        rig.node.bring(FakeStore.append(rig.store))
        await rig.node.settle()
        assert rig.kinds[0] == "hello"
        assert set(rig.kinds[1:]) == {"serverMessages"}
        seen = [message["seq"] for message in rig.frames[0]["payload"]["rooms"][0]["messages"]]
        seen += [one["seq"] for frame in rig.frames[1:] for one in frame["payload"]["messages"]]
        assert seen == list(range(1, rig.store.tail + 1))


async def test_what_is_kept_back_before_the_hello_is_bounded() -> None:
    """A busy room among many that take long: past the outbound limit the session is cut off, as any slow one."""
    async with rigged(outbound_bytes=65_536) as rig:
        FakeStore.append(rig.store, 3)
        rig.store.on_read = lambda: rig.node.bring(FakeStore.append(rig.store, 10, size=5000))
        await rig.begin("room_1", "room_2", "room_3", "room_4")
        assert rig.transport.closed == [4001]
        assert rig.session.ended
        assert rig.frames == []


# -- rooms ---------------------------------------------------------------------------------------------------------


async def test_a_node_without_memory_lets_nobody_open_a_further_room(rig: Rig) -> None:
    """`overloaded`, with the ref; rooms that the node has may still be joined, and it ends with the shortage."""
    await rig.enter("room_1")
    rig.context.full = True
    rig.receive("joinRoom", roomId="room_2", ref="r2")
    rig.say("x", room="room_2", ref="r3")
    assert rig.codes == [("overloaded", "r2"), ("overloaded", "r3")]
    rig.receive("joinRoom", roomId="room_1")
    rig.say("x")
    rig.context.full = False
    rig.receive("joinRoom", roomId="room_2")
    await rig.node.settle()
    assert rig.kinds == ["error", "error", "joined", "joined"]
    assert rig.store.contents == ["x"]


async def test_sending_joins_first(rig: Rig) -> None:
    """The `joined` comes before anything of the room, then the message is stored."""
    rig.say("one", ref="r")
    await rig.node.settle()
    assert (rig.kinds, rig.store.contents) == (["joined"], ["one"])
    assert list(rig.session.rooms) == ["room_1"]


async def test_a_join_that_fails_leaves_the_room(rig: Rig) -> None:
    """Joined anew while Redis is away: the client is told, and gets nothing of the room any more."""
    await rig.enter("room_1")
    rig.presences.fault = ConnectionError("away")
    rig.receive("joinRoom", roomId="room_1", ref="r")
    await rig.node.settle()
    assert rig.codes == [("unavailable", "r")]
    assert (rig.session.rooms, rig.node.hub.rooms) == ({}, {})


async def test_a_room_that_is_joined_anew_is_still_watched(rig: Rig) -> None:
    """A client that lost messages joins at its position; nothing tells it that it has to watch again."""
    await rig.enter("room_1")
    rig.session.rooms["room_1"].watchers.add(rig.session)
    rig.receive("joinRoom", roomId="room_1", since={"epoch": 0, "seq": 0})
    await rig.node.settle()
    assert rig.kinds == ["joined"]
    assert rig.session.rooms["room_1"].watchers == {rig.session}


async def test_a_join_that_fails_tells_the_registry_that_the_user_left(rig: Rig) -> None:
    """Also where somebody else keeps the room alive: its online count would be one too many."""
    await rig.enter("room_1")
    rig.node.hub.add(rig.node.hub.rooms["room_1"], Recorder("bob"))
    rig.node.changed.clear()
    rig.presences.fault = ConnectionError("away")
    rig.receive("joinRoom", roomId="room_1", ref="r")
    await rig.node.settle()
    assert rig.codes == [("unavailable", "r")]
    assert list(rig.node.hub.rooms["room_1"].users) == ["bob"]
    assert rig.node.changed == ["room_1"]


async def test_a_fault_of_ours_ends_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """The client is told `internal`, the fault is logged, and the next frame is dealt with."""
    rig.presences.fault = ZeroDivisionError("a fault")
    rig.receive("joinRoom", roomId="room_1", ref="r")
    rig.receive("ping")
    await rig.node.settle()
    assert (rig.codes, rig.kinds) == ([("internal", "r")], ["error", "pong"])
    assert "ZeroDivisionError" in capsys.readouterr().out


async def test_only_so_many_rooms() -> None:
    """Leaving one makes room for another."""
    async with rigged(max_rooms_per_session=2) as rig:
        await rig.begin("a", "b")
        rig.say("x", room="c", ref="1")
        rig.receive("joinRoom", roomId="c", ref="2")
        rig.receive("joinRoom", roomId="a", ref="3")
        await rig.node.settle()
        assert rig.codes == [("forbidden", "1"), ("forbidden", "2")]
        rig.receive("leaveRoom", roomId="b")
        rig.receive("joinRoom", roomId="c")
        await rig.node.settle()
        assert list(rig.session.rooms) == ["a", "c"]


async def test_who_watches_must_be_in_the_room(rig: Rig) -> None:
    """And is forgotten with the room."""
    rig.receive("requestPresence", roomId="room_1", watch=True, ref="r")
    assert rig.codes == [("forbidden", "r")]
    await rig.enter("room_1")
    rig.session.rooms["room_1"].watchers.add(rig.session)
    room = rig.session.rooms["room_1"]
    rig.receive("leaveRoom", roomId="room_1")
    assert room.watchers == set()


# -- limits --------------------------------------------------------------------------------------------------------


class Clock:
    """The monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """As time.monotonic."""
        return self.now


async def test_the_rate_is_a_burst_and_then_so_many_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by message; a frame that asks for too much takes nothing."""
    clock = Clock()
    monkeypatch.setattr(allowance, "time", clock)
    async with rigged(rate_messages_per_second=10, rate_burst_messages=5) as rig:
        await rig.begin("room_1")
        for i in range(4):
            rig.say(str(i))
        rig.receive("clientMessages", roomId="room_1", messages=[{"content": "x"}] * 2, ref="both")
        rig.say("4")
        rig.say("too much", ref="none")
        assert rig.store.contents == ["0", "1", "2", "3", "4"]
        assert rig.codes == [("rate_limited", "both"), ("rate_limited", "none")]
        clock.now += 0.15
        rig.say("5")
        rig.say("too much", ref="again")
        clock.now += 3600
        for i in range(6, 12):
            rig.say(str(i), ref=str(i))
        assert rig.store.contents == [str(i) for i in range(11)]
        assert rig.codes[-1] == ("rate_limited", "11")


async def test_who_is_limited_too_long_without_a_pause_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 4002, although now and then a message gets through; whoever makes a pause is not."""
    clock = Clock()
    monkeypatch.setattr(allowance, "time", clock)
    async with rigged(rate_messages_per_second=1, rate_burst_messages=4, rate_patience_seconds=2) as rig:
        await rig.begin("room_1")
        for _ in range(3):
            for _ in range(20):  # ten a second, for as long as it is borne
                clock.now += 0.1
                rig.say("x")
            clock.now += 4
        assert rig.transport.closed == []
        for _ in range(30):
            clock.now += 0.1
            rig.say("x")
        assert (rig.transport.closed[:1], rig.session.ended, rig.membership.sessions) == ([4002], True, [])


async def test_what_is_no_frame_counts_as_a_message() -> None:
    """A flood of it costs its sender the allowance."""
    async with rigged(rate_messages_per_second=0.001, rate_burst_messages=2) as rig:
        await rig.begin("room_1")
        for _ in range(3):
            rig.session.receive(b"nonsense", text=True)
        rig.say("x", ref="1")
        assert rig.codes == [("bad_request", None)] * 2 + [("rate_limited", None), ("rate_limited", "1")]
        assert rig.store.contents == []


async def test_what_the_store_refuses_is_told(rig: Rig) -> None:
    """At once where too many wait, later where Redis was away; each with its ref."""
    await rig.enter("room_1")
    rig.store.refuses = True
    rig.say("x", ref="1")
    rig.store.refuses = False
    rig.say("x", ref="2")
    rig.say("x", ref="3")
    rig.store.asked[0][2].set_exception(Unavailable("Redis is away"))
    rig.store.asked[1][2].set_exception(RuntimeError("a fault"))
    await rig.node.settle()
    assert rig.codes == [("overloaded", "1"), ("unavailable", "2"), ("internal", "3")]


# -- ends ----------------------------------------------------------------------------------------------------------


async def test_what_ends_is_gone_everywhere(rig: Rig) -> None:
    """Its rooms, the node's list; acks that come later go nowhere; ending twice is fine."""
    await rig.enter("room_1", "room_2")
    rig.say("one")
    rig.presences.gate.clear()
    rig.receive("joinRoom", roomId="room_3")
    written = len(rig.transport.written)
    rig.session.end()
    rig.session.end()
    rig.presences.gate.set()
    rig.store.asked[0][2].set_result(Appended(7, 1, ["1-0"]))
    await rig.node.settle()
    assert (rig.node.hub.rooms, rig.session.rooms, rig.membership.sessions) == ({}, {}, [])
    assert len(rig.transport.written) == written


async def test_messages_that_waited_when_the_connection_ended_are_stored_in_order() -> None:
    """Many a client connects, sends and is gone; what else it asked for matters no more, nor does what is broken."""
    async with rigged(rate_burst_messages=5, rate_messages_per_second=0.001) as rig:  # earned slower than it runs
        rig.presences.gate.clear()
        rig.session.begin(["room_1"])
        rig.say("one", room="room_2")
        await rig.node.settle()
        for i in range(2):
            rig.say(str(i))
            rig.receive("joinRoom", roomId="room_3")
            rig.session.receive(b"nonsense", text=True)
        rig.say("too much")
        rig.session.end()
        assert rig.store.contents == []
        rig.presences.gate.set()
        await rig.node.settle()
        assert rig.store.contents == ["one", "0", "1"]
        assert (rig.node.hub.rooms, rig.node.pubsub.subscribed) == ({}, set())


async def test_who_goes_before_the_hello_leaves_nothing_behind() -> None:
    """Neither room nor subscription."""
    async with rigged() as rig:
        rig.session.begin(["a", "b"])
        await asyncio.sleep(0)
        rig.session.end()
        await rig.node.settle()
        assert (rig.node.hub.rooms, rig.node.pubsub.subscribed, rig.transport.written) == ({}, set(), [])


async def test_without_redis_a_client_is_sent_away() -> None:
    """1013, before any hello."""
    async with rigged() as rig:
        rig.node.store.away = True
        await rig.begin("a")
        assert (rig.transport.closed, rig.kinds) == ([1013], [])


async def test_a_fault_of_ours_sends_a_client_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1011 rather than a session without a hello; what happened is in the log."""

    async def fail(*_: object, **_how: object) -> bytes:
        raise ValueError("not thought of")

    monkeypatch.setattr(Join, "fresh", fail)
    async with rigged() as rig:
        await rig.begin("a")
        assert (rig.transport.closed, rig.kinds) == ([1011], [])
    assert "not thought of" in capsys.readouterr().out


async def test_a_hello_that_is_asked_for_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound rooms come without their messages, and say that there are some."""
    monkeypatch.setattr(greeting, "HELLO_BYTES", 1000)
    await rig.enter("room_1", "room_2")
    FakeStore.append(rig.store, 3, size=1000)
    for name in ("room_1", "room_2"):
        rig.node.hub.rooms[name].epoch, rig.node.hub.rooms[name].last = 1, 3
    rig.receive("hello")
    await rig.node.settle()
    shown = [
        (room["seq"], len(room["messages"]), room["hasMoreMessages"]) for room in rig.frames[-1]["payload"]["rooms"]
    ]
    assert shown == [(3, 3, False), (3, 0, True)]


async def test_a_draining_node_takes_no_messages(rig: Rig) -> None:
    """But tells the sender to send again elsewhere."""
    await rig.enter("room_1")
    rig.context.draining = True
    rig.say("x", ref="r")
    assert (rig.codes, rig.store.contents) == ([("unavailable", "r")], [])
