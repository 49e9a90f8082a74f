"""What Logic tells about rooms and who is online."""

import asyncio
from urllib.parse import quote

import pytest
import redis.asyncio
from yarl import URL

from common.envelope import User
from common.registry import Node, Registry, RoomPresence
from logic.replies import History, Online, RoomOnline, Rooms
from logic.routes import ROUTES
from tests.support.logic_node import Logic, backend_send
from tests.support.open_store import open_store
from tests.support.shards import SHARDS


async def _serve(redis_url: str) -> None:
    """Be two nodes, one of which serves room a."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        registry = Registry(client, SHARDS)
        await registry.renew(Node("n1", "127.0.0.1:1", connections=3, rooms=1), first=True)
        await registry.renew(Node("n2", "127.0.0.1:2", connections=4, rooms=0), first=True)
        await registry.record("n1", {"a": RoomPresence(2, [("1", "Alice"), ("2", "Bob")])}, {"1": 1, "2": 1}, 60)
        await registry.record("gone", {"a": RoomPresence(9, [])}, {}, 60)


async def test_rooms_are_listed_page_by_page_with_who_is_online(logic: Logic, redis_url: str) -> None:
    """Walking the cursor names every room once or more, and nothing else; dead nodes do not count."""
    rooms = {f"room/{number}" for number in range(60)} | {"a"}
    for room in rooms:
        await logic.post("/logic/send", backend_send(room, "x"))
    await _serve(redis_url)
    counts: dict[str, int] = {}
    cursor = "0"
    while True:
        answer = await logic.get("/logic/rooms", params={"cursor": cursor, "limit": "10"})
        page = Rooms.model_validate(answer.json)
        counts |= {room.id: room.online_count for room in page.rooms}
        if (cursor := page.cursor) == "0":
            break
    assert counts == {room: 2 if room == "a" else 0 for room in rooms}


async def test_history_comes_in_pages_oldest_first(logic: Logic) -> None:
    """`before` and `limit` walk back to the first message."""
    for number in range(7):
        await logic.post("/logic/send", backend_send("a/b", str(number)))
    path = f"/logic/rooms/{quote('a/b', safe='')}/messages"
    newest = History.model_validate((await logic.get(path, params={"limit": "3"})).json)
    assert [one.content for one in newest.messages] == ["4", "5", "6"]
    assert newest.has_more_messages
    assert newest.room_id == "a/b"
    assert newest.messages[0].user.model_dump() == {"id": "1001", "username": "Alice"}
    rest = History.model_validate((await logic.get(path, params={"before": newest.messages[0].id})).json)
    assert [(one.seq, one.content) for one in rest.messages] == [(1, "0"), (2, "1"), (3, "2"), (4, "3")]
    assert not rest.has_more_messages


ODD_ROOMS = [
    "{3F2504E0}", "{", "{roomId}", "a/b", "/", "a/messages", "../..", "..", ".", "%", "%2F", "%252F", "%7B", "100%",
    "+", "a+b", "a&b=c#d?e;f", "<b>", "\"'\\", "*", "[::1]:80", "@", "~", "é", "日本語", "😀",
    "😀" * 128, "{" * 128, "/" * 128,
]  # fmt: skip
STORED_EARLIER = ["a\u200bb", "cafe\u0301", "\ufeffx", "\x9b31m"]  # accepted by earlier versions


@pytest.mark.parametrize("path", [route.path for route in ROUTES if "{roomId}" in route.path])
async def test_every_route_takes_every_room_id(logic: Logic, path: str) -> None:
    """Percent-encoded as JavaScript's encodeURIComponent does, or byte by byte. Nothing is decoded twice."""
    for room in ODD_ROOMS + STORED_EARLIER:
        for written in (quote(room, safe="!'()*"), "".join(f"%{byte:02x}" for byte in room.encode())):
            url = f"http://127.0.0.1:{logic.settings.http_bind_port}{path.replace('{roomId}', written)}"
            async with logic.session.get(URL(url, encoded=True)) as answer:
                assert (answer.status, (await answer.json())["roomId"]) == (200, room), url


async def test_a_room_with_an_odd_id_can_be_written_and_read(logic: Logic) -> None:
    """Each has a log of its own."""
    sent = await asyncio.gather(*(logic.post("/logic/send", backend_send(room, room)) for room in ODD_ROOMS))
    assert {answer.status for answer in sent} == {200}
    for room in ODD_ROOMS:
        written = "".join(f"%{byte:02X}" for byte in room.encode())
        url = URL(f"http://127.0.0.1:{logic.settings.http_bind_port}/logic/rooms/{written}/messages", encoded=True)
        async with logic.session.get(url) as answer:
            history = History.model_validate(await answer.json())
        assert [message.content for message in history.messages] == [room]


async def test_history_under_an_id_that_is_illegal_now_stays_readable(logic: Logic, redis_url: str) -> None:
    """While nothing more can be written under it."""
    async with open_store(redis_url) as store:
        for room in STORED_EARLIER:
            await store.append(room, User("u\u200b", "\u202eEve"), ["said earlier"])
    for room in STORED_EARLIER:
        await _can_only_be_read(logic, room)


async def _can_only_be_read(logic: Logic, room: str) -> None:
    refused = await logic.post("/logic/send", backend_send(room, "more"))
    assert (refused.status, refused.json["field"]) == (400, "roomId")
    assert "U+" in refused.json["message"]
    history = History.model_validate((await logic.get(f"/logic/rooms/{quote(room)}/messages")).json)
    assert [(one.content, one.user.username) for one in history.messages] == [("said earlier", "\u202eEve")]
    assert room in {one.id for one in Rooms.model_validate((await logic.get("/logic/rooms")).json).rooms}


async def test_an_unknown_room_is_empty(logic: Logic) -> None:
    """A room without a log has neither messages nor anybody in it."""
    assert (await logic.get("/logic/rooms/none/messages")).json == {
        "roomId": "none",
        "epoch": 0,
        "messages": [],
        "hasMoreMessages": False,
    }
    assert (await logic.get("/logic/rooms/none/online")).json == {"roomId": "none", "onlineCount": 0, "users": []}


async def test_who_is_online_in_a_room_and_on_all_nodes(logic: Logic, redis_url: str) -> None:
    """Only living nodes count."""
    await _serve(redis_url)
    room = RoomOnline.model_validate((await logic.get("/logic/rooms/a/online")).json)
    assert (room.online_count, [user.username for user in room.users]) == (2, ["Alice", "Bob"])
    online = Online.model_validate((await logic.get("/logic/online")).json)
    assert online.online_count == 7
    assert {node.incarnation for node in online.nodes} == {"n1", "n2"}


async def test_bad_questions_are_400_and_name_the_parameter(logic: Logic) -> None:
    """Every parameter has its limits."""
    for path, field in (
        ("/logic/rooms?cursor=x", "cursor"),
        (f"/logic/rooms?cursor={2**64}", "cursor"),
        ("/logic/rooms?limit=0", "limit"),
        ("/logic/rooms?limit=1001", "limit"),
        ("/logic/rooms/a%20b/messages", "roomId"),
        ("/logic/rooms/a/messages?before=1", "before"),
        ("/logic/rooms/a/messages?limit=101", "limit"),
        ("/logic/rooms/a%2Cb/online", "roomId"),
    ):
        answer = await logic.get(path)
        assert (answer.status, answer.json["field"]) == (400, field), path
