"""The Python client on real Comets and a real Redis: followed rooms have no hole and no repeat, whatever dies."""

import asyncio
from collections.abc import Iterator, Sequence

import jwt
import pytest

from chatroom.up.guard import Guard
from chatroom_client import Ack, ChatClient, Disconnected, Hole, Message, Position, Presence, TooLarge
from testbed.redis_server import RedisServer
from tests.support.comet_maker import CometMaker, comet_maker

TIMEOUT_S = 30.0
ROOM = "room_1"
KEY = "a key for tests that is long enough to be one"
QUICK_S = 0.2  # the longest wait between two tries


@pytest.fixture
def make_comet(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometMaker]:
    """Start nodes, and end them behind the test."""
    with comet_maker(guard, tmp_path_factory) as make:
        yield make


def client(url: str | Sequence[str], uid: str, **more: object) -> ChatClient:
    """Return a client that comes back quickly."""
    options = {"rooms": [ROOM], "reconnect_first_s": 0.05, "reconnect_cap_s": QUICK_S, **more}
    return ChatClient(url, uid=uid, **options)  # type: ignore[arg-type]  # as ChatClient says


async def follow(chat: ChatClient, seen: list[Message | Hole], last: str) -> None:
    """Collect what a room brings until a message of this content."""
    async with asyncio.timeout(TIMEOUT_S):
        async for event in chat:
            if isinstance(event, (Message, Hole)):
                seen.append(event)
                if isinstance(event, Message) and event.content == last:
                    return


def check(seen: list[Message | Hole], acks: list[Ack]) -> None:
    """Every message once, in seq order, and each where its ack says."""
    assert [one.seq for one in seen if isinstance(one, Message)] == list(range(1, len(seen) + 1))
    stored = {one.seq: one.id for one in seen if isinstance(one, Message)}
    assert {ack.seq: ack.id for ack in acks} == stored


async def test_rooms_are_followed_and_sends_are_acked(redis_url: str, make_comet: CometMaker) -> None:
    """On one node: who is in the room sees both users' messages in one order, and presence where it is watched."""
    comet = make_comet(redis_url)
    async with client(comet.url, "alice", name="Alice") as alice, client(comet.url, "bob") as bob:
        acks = [await alice.send(ROOM, "one"), await bob.send(ROOM, "two"), await alice.send(ROOM, "end")]
        for chat in (alice, bob):
            seen: list[Message | Hole] = []
            await follow(chat, seen, "end")
            check(seen, acks)
        assert isinstance(seen[0], Message)
        assert (seen[0].user.id, seen[0].user.username) == ("alice", "Alice")
        await bob.watch(ROOM)
        async with asyncio.timeout(TIMEOUT_S):
            presence = await anext(event async for event in bob if isinstance(event, Presence))
        assert {user.id for user in presence.users} == {"alice", "bob"}


async def test_the_same_ref_is_stored_once(redis_url: str, make_comet: CometMaker) -> None:
    """A sender that is not sure sends again, through another node as well."""
    one, two = make_comet(redis_url), make_comet(redis_url)
    async with client(one.url, "alice") as here, client(two.url, "alice") as there:
        first = await here.send(ROOM, "hi", ref="mine")
        assert await here.send(ROOM, "hi", ref="mine") == first
        assert await there.send(ROOM, "hi", ref="mine") == first


async def test_what_is_too_large_is_raised_and_harms_nobody(redis_url: str, make_comet: CometMaker) -> None:
    """The connection lives on."""
    comet = make_comet(redis_url)
    async with client(comet.url, "alice") as chat:
        with pytest.raises(TooLarge):
            await chat.send(ROOM, "x" * 20_000)
        assert (await chat.send(ROOM, "hi")).seq == 1
        assert chat.reconnects == 0


async def test_a_saved_position_is_resumed_or_told_to_be_gone(redis_url: str, make_comet: CometMaker) -> None:
    """Across lives of a client: `rooms` is what `join` takes; the log keeps only so many messages."""
    comet = make_comet(redis_url, CHAT_ROOM_MAX_MESSAGES="100")
    async with client(comet.url, "alice") as alice:
        await alice.send(ROOM, "first")
        async with client(comet.url, "bob") as bob:
            saved = bob.rooms[ROOM]
        assert saved.seq == 1
        await alice.send(ROOM, "second")
        async with client(comet.url, "bob", rooms=[]) as bob:
            await bob.join(ROOM, saved)
            seen: list[Message | Hole] = []
            await follow(bob, seen, "second")
            assert len(seen) == 1
        await asyncio.gather(*(alice.send(ROOM, f"m{i}") for i in range(400)))
        await alice.send(ROOM, "last")
        async with client(comet.url, "bob", rooms=[]) as bob:
            await bob.join(ROOM, saved)
            await follow(bob, seen, "last")
            assert seen[1] == Hole(ROOM, Position(saved.epoch, 1), "lost")


async def test_nothing_is_lost_or_doubled_when_nodes_die(redis_url: str, make_comet: CometMaker) -> None:
    """Senders and readers on two nodes; connections are cut, each node is killed and started again."""
    comets = [make_comet(redis_url), make_comet(redis_url)]
    urls = [comet.url for comet in comets]
    names = ["alice", "bob", "carol"]
    stop = asyncio.Event()

    async def speak(chat: ChatClient, name: str) -> list[Ack]:
        acks: list[Ack] = []
        while not stop.is_set():
            batch = (chat.send(ROOM, f"{name}-{len(acks) + i}") for i in range(3))
            acks += await asyncio.gather(*batch)
            await asyncio.sleep(0.005)
        return acks

    async with asyncio.timeout(2 * TIMEOUT_S), asyncio.TaskGroup() as tasks:
        async with client(urls, "alice") as alice, client(urls[::-1], "bob") as bob, client(urls, "carol") as carol:
            chats = [alice, bob, carol]
            all_seen: list[list[Message | Hole]] = [[] for _ in chats]
            following = [
                tasks.create_task(follow(chat, seen, "end")) for chat, seen in zip(chats, all_seen, strict=True)
            ]
            speaking = [tasks.create_task(speak(chat, name)) for chat, name in zip(chats, names, strict=True)]
            for comet in comets:
                for chat in chats:
                    before = chat.reconnects
                    chat.drop()
                    while chat.reconnects == before:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(comet.kill)
                await asyncio.to_thread(comet.start)
            stop.set()
            acks = [ack for task in speaking for ack in await task]
            acks.append(await alice.send(ROOM, "end"))
            await asyncio.gather(*following)
    for seen in all_seen:
        check(seen, acks)


async def test_a_redis_that_dies_costs_a_delay(own_redis: RedisServer, make_comet: CometMaker) -> None:
    """What is sent meanwhile is refused, tried again and stored once; the connection stays."""
    comet = make_comet(own_redis.url)
    async with client(comet.url, "alice") as chat, asyncio.timeout(TIMEOUT_S):
        acks = [await chat.send(ROOM, "before")]
        await asyncio.to_thread(own_redis.kill)
        sending = [asyncio.create_task(chat.send(ROOM, f"m{i}")) for i in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(own_redis.start)
        acks += [await one for one in sending]
        acks.append(await chat.send(ROOM, "end"))
        seen: list[Message | Hole] = []
        await follow(chat, seen, "end")
        check(seen, acks)
        assert acks[-1].epoch > acks[0].epoch
        assert chat.reconnects == 0


async def test_a_token_says_who_one_is(redis_url: str, make_comet: CometMaker) -> None:
    """One that is not valid ends the client at once, with the server's reason."""
    comet = make_comet(redis_url, COMET_AUTH_KEY=KEY)
    token = jwt.encode({"sub": "u7", "name": "Seven"}, KEY, algorithm="HS256")
    async with ChatClient(comet.url, token=token) as chat:
        assert chat.me is not None
        assert (chat.me.id, chat.me.username) == ("u7", "Seven")
    with pytest.raises(Disconnected, match="1008 a valid token is needed"):
        await ChatClient(comet.url, token="wrong").__aenter__()  # noqa: S106 - a test's
