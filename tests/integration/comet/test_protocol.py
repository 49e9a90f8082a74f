"""The client protocol, row by row of the design's table, over real sockets and a real Redis."""

import json
from typing import Any

import pytest

from tests.support.comet_node import Client, CometNode, running
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


def hello(client: Client) -> dict[str, Any]:
    """Return the newest hello."""
    return client.frames("hello")[-1]


async def say(client: Client, *contents: str, room: str = ROOM, **more: object) -> dict[str, Any]:
    """Send messages, wait until they came back (unless they are repeats) and return the ack."""
    payload = {"roomId": room, "messages": [{"content": content} for content in contents], **more}
    ack = await client.answer("clientMessages", payload, "ack")
    if "ref" not in more:
        await client.until(lambda: ack["messages"][-1]["id"] in {one["id"] for one in client.messages(room)})
    return ack


async def join(client: Client, room: str = ROOM, **more: object) -> dict[str, Any]:
    """Join and return the answer."""
    return await client.answer("joinRoom", {"roomId": room, **more}, "joined")


# -- connecting ----------------------------------------------------------------------------------------------------


async def test_connecting_puts_a_plain_client_into_the_default_rooms(node: CometNode) -> None:
    """The hello tells who it is, which node it is on, and its rooms."""
    async with node.client() as client:
        me, rooms = hello(client)["me"], hello(client)["rooms"]
        assert me["id"].startswith("guest-")
        assert me["username"] == me["id"]
        beginning = {"epoch": 0, "seq": 0}
        assert rooms == [
            {"id": "room_001", "name": "room_001", **beginning, "tail": beginning, "messages": [],
             "hasMoreMessages": False}
        ]  # fmt: skip
        assert len(hello(client)["node"]) == 32


@pytest.mark.parametrize(("rooms", "entered"), [("", []), ("a,b", ["a", "b"]), ("a,,a", ["a"]), ("ä:{1}*", ["ä:{1}*"])])
async def test_a_client_may_say_which_rooms_it_enters(node: CometNode, rooms: str, entered: list[str]) -> None:
    """`?rooms=a,b` those, `?rooms=` none."""
    async with node.client(rooms=rooms) as client:
        assert [room["id"] for room in hello(client)["rooms"]] == entered


@pytest.mark.parametrize(
    ("query", "me"),
    [
        ({"uid": "7", "name": "Al Ice"}, {"id": "7", "username": "Al Ice"}),
        ({"uid": "u" * 128}, {"id": "u" * 128, "username": "u" * 64}),
        ({"uid": "ü ☃"}, {"id": "ü ☃", "username": "ü ☃"}),
    ],
)
async def test_a_guest_may_say_who_it_is(node: CometNode, query: dict[str, str], me: dict[str, str]) -> None:
    """`?uid=` and `?name=`; the name is the id where there is none."""
    async with node.client(rooms="", **query) as client:
        assert hello(client)["me"] == me


async def test_a_hello_shows_the_newest_messages_of_each_room(node: CometNode, alice: Client) -> None:
    """At most twenty, oldest first, and whether there are older ones."""
    ack = await say(alice, *map(str, range(25)))
    await say(alice, "x", room="room_2")
    async with node.client(rooms=f"{ROOM},room_2,room_3") as client:
        one, two, three = hello(client)["rooms"]
    assert [message["content"] for message in one["messages"]] == [str(i) for i in range(5, 25)]
    assert (one["epoch"], one["seq"], one["hasMoreMessages"]) == (ack["epoch"], 25, True)
    assert (one["tail"], three["tail"]) == ({"epoch": ack["epoch"], "seq": 25}, {"epoch": 0, "seq": 0})
    assert (len(two["messages"]), two["hasMoreMessages"], three["messages"]) == (1, False, [])


async def test_hello_again(alice: Client) -> None:
    """Asked for, it tells the rooms the session is in by now."""
    ack = await say(alice, "one")
    again = await alice.answer("hello", {}, "hello")
    assert again["me"] == {"id": "alice", "username": "Alice"}
    assert [(room["id"], room["seq"], len(room["messages"])) for room in again["rooms"]] == [(ROOM, 1, 1)]
    assert again["rooms"][0]["tail"] == {"epoch": ack["epoch"], "seq": 1}


async def test_ping(alice: Client) -> None:
    """Browsers can't see WebSocket pings, so there is one they can."""
    assert await alice.answer("ping", {}, "pong") == {}


# -- messages ------------------------------------------------------------------------------------------------------


async def test_the_documented_frame_just_works(node: CometNode) -> None:
    """Two plain clients: both get the message once, under one id, with all fields."""
    async with node.client(uid="1001", name="Alice") as one, node.client() as two:
        await one.connection.send(
            '{"type": "clientMessages", "payload": {"content": "Test message", "roomId": "room_001"}}'
        )
        for client in (one, two):
            await client.until_contents("room_001", ["Test message"])
            await client.settle()
            assert len(client.messages("room_001")) == 1
        [message] = one.messages("room_001")
        await one.until(lambda: one.frames("ack"))
        [ack] = one.frames("ack")
        assert two.messages("room_001") == [message]
    assert message == {
        "id": message["id"],
        "seq": 1,
        "timestamp": int(message["id"].split("-")[0]),
        "content": "Test message",
        "user": {"id": "1001", "username": "Alice"},
    }
    assert (ack["ref"], ack["roomId"]) == (None, "room_001")
    assert ack["messages"] == [{"id": message["id"], "seq": 1, "timestamp": message["timestamp"]}]


async def test_a_client_that_sends_and_goes_has_said_it(node: CometNode) -> None:
    """It waits for nothing, not even the hello: what it sent before it closed is stored, in order."""
    contents = [str(i) for i in range(10)]
    async with node.connection() as hasty:
        for content in contents:
            frame = {"type": "clientMessages", "payload": {"roomId": ROOM, "content": content}}
            await hasty.send(json.dumps(frame))
    async with node.client(rooms=ROOM) as client:

        async def stored() -> bool:
            page = await client.answer("requestRoomHistory", {"roomId": ROOM}, "roomHistory")
            return [message["content"] for message in page["messages"]] == contents

        await eventually(stored)


async def test_messages_of_one_frame_are_one_append(alice: Client, bob: Client) -> None:
    """Consecutive seqs, one ack, one frame at the receiver's."""
    await join(bob)
    ack = await say(alice, "one", "two", "three", ref="my ref")
    await bob.until_contents(ROOM, ["one", "two", "three"])
    assert (ack["ref"], [one["seq"] for one in ack["messages"]]) == ("my ref", [1, 2, 3])
    assert [one["id"] for one in ack["messages"]] == [one["id"] for one in bob.messages(ROOM)]
    assert len(bob.frames("serverMessages")) == 1


async def test_sending_to_a_room_joins_it(alice: Client, bob: Client) -> None:
    """And the sender gets its own message, and whatever comes after."""
    await say(alice, "one")
    await alice.until_contents(ROOM, ["one"])
    await say(bob, "two")
    await alice.until_contents(ROOM, ["one", "two"])


async def test_messages_arrive_as_they_were_sent(alice: Client) -> None:
    """Whatever characters they hold, and however long they are within the limit."""
    contents = ['"\\\n\t\u0000\u2028', "☃😀", "x" * 16_384, "{}", " "]
    await say(alice, *contents)
    await alice.until_contents(ROOM, contents)


async def test_a_burst_of_one_sender_arrives_in_order(alice: Client, bob: Client) -> None:
    """Frames sent without waiting for acks are stored and seen in the order sent; acks come in that order too."""
    await join(bob)
    contents = [str(i) for i in range(150)]
    for content in contents:
        await alice.send(ROOM, content, ref=content)
    await bob.until_contents(ROOM, contents)
    await alice.until(lambda: len(alice.frames("ack")) == 150)
    assert [ack["ref"] for ack in alice.frames("ack")] == contents


async def test_a_repeated_ref_gets_the_first_ack(node: CometNode, alice: Client, bob: Client) -> None:
    """Also through another connection of the same user; it is stored and seen once."""
    await join(bob)
    first = await say(alice, "once", ref="r")
    again = await say(alice, "once", ref="r")
    async with node.client(uid="alice", rooms="") as reconnected:
        third = await say(reconnected, "once", ref="r")
    assert first == again == third
    other = await say(bob, "another user's", ref="r")
    assert other["messages"] != first["messages"]
    await bob.until_contents(ROOM, ["once", "another user's"])


async def test_a_ref_with_other_contents_is_a_bad_request(alice: Client, bob: Client) -> None:
    """It names `ref` and bears it, so that the client's send fails. Of several messages each counts, in order."""
    await join(bob)
    await say(alice, "one", "two", ref="r")
    for contents in (["one"], ["two", "one"], ["one", "other"]):
        payload = {"roomId": ROOM, "messages": [{"content": content} for content in contents], "ref": "r"}
        error = await alice.error(json.dumps({"type": "clientMessages", "payload": payload}))
        assert (error["code"], error["ref"]) == ("bad_request", "r")
        assert error["message"].startswith("ref ")
    await say(alice, "three", ref="r2")
    await bob.until_contents(ROOM, ["one", "two", "three"])


# -- rooms ---------------------------------------------------------------------------------------------------------


async def test_joining_and_leaving(alice: Client, bob: Client) -> None:
    """`joined` tells position, newest messages and who is there; after `left` nothing of the room comes."""
    assert await join(alice) == {
        "roomId": ROOM, "epoch": 0, "seq": 0, "tail": {"epoch": 0, "seq": 0}, "recovered": True, "messages": [],
        "onlineCount": 1
    }  # fmt: skip
    ack = await say(alice, "one")
    joined = await join(bob)
    assert (joined["epoch"], joined["seq"], joined["onlineCount"]) == (ack["epoch"], 1, 2)
    assert [message["content"] for message in joined["messages"]] == ["one"]
    assert await bob.answer("leaveRoom", {"roomId": ROOM}, "left") == {"roomId": ROOM}
    await say(alice, "two")
    await bob.settle()
    assert bob.messages(ROOM) == []
    assert await bob.answer("leaveRoom", {"roomId": ROOM}, "left") == {"roomId": ROOM}


async def test_joining_a_joined_room_starts_it_anew(alice: Client, bob: Client) -> None:
    """With the newest messages again, then what comes, each once."""
    await join(bob)
    await say(alice, "one")
    await bob.until_contents(ROOM, ["one"])
    joined = await join(bob)
    assert [message["seq"] for message in joined["messages"]] == [1]
    await say(alice, "two")
    await bob.until_contents(ROOM, ["one", "two"])


async def test_history_is_paged(alice: Client) -> None:
    """From the newest back to the first, oldest first in each page."""
    ack = await say(alice, *map(str, range(25)))
    contents: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = await alice.answer("requestRoomHistory", {"roomId": ROOM, "limit": 10, **before}, "roomHistory")
        assert (page["roomId"], page["epoch"]) == (ROOM, ack["epoch"])
        contents[:0] = [message["content"] for message in page["messages"]]
        before = {"firstMessageId": page["messages"][0]["id"]}
        if not page["hasMoreMessages"]:
            break
    assert contents == [str(i) for i in range(25)]
    nothing = await alice.answer("requestRoomHistory", {"roomId": "none"}, "roomHistory")
    assert (nothing["messages"], nothing["hasMoreMessages"], nothing["epoch"]) == ([], False, 0)


async def test_history_before_the_first_possible_id_is_empty(alice: Client) -> None:
    """No id is an error only because nothing lies before it."""
    await say(alice, "one")
    page = await alice.answer("requestRoomHistory", {"roomId": ROOM, "firstMessageId": "0-0"}, "roomHistory")
    assert page["messages"] == []


async def test_presence_on_request(node: CometNode, alice: Client, bob: Client) -> None:
    """Users, not sessions, with their names; also of a room one is not in."""
    await join(alice)
    async with node.client(uid="alice", name="Alice", rooms=ROOM):
        found = await bob.answer("requestPresence", {"roomId": ROOM}, "presence")
    assert found == {"roomId": ROOM, "onlineCount": 1, "users": [{"id": "alice", "username": "Alice"}]}


async def test_who_watches_is_told_of_changes(node: CometNode, alice: Client) -> None:
    """Somebody comes, somebody goes, each change told once; unwatched, nothing is told."""
    await join(alice)
    await alice.answer("requestPresence", {"roomId": ROOM, "watch": True}, "presence")

    def counts() -> list[int]:
        return [found["onlineCount"] for found in alice.frames("presence")]

    async with node.client(uid="bob", rooms=ROOM):
        await alice.until(lambda: counts()[-1] == 2)
    await alice.until(lambda: counts()[-1] == 1 and 2 in counts())
    await alice.answer("requestPresence", {"roomId": ROOM, "watch": False}, "presence")
    assert counts()[-1] == 1
    assert len(counts()) <= 5


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code", "said"),
    [
        ("not json", "bad_request", "JSON"),
        ("[]", "bad_request", "object"),
        ('{"type": 1}', "bad_request", "type"),
        ('{"type": "dance"}', "unknown_type", "dance"),
        ('{"type": "ping", "payload": []}', "bad_request", "payload"),
        ('{"type": "joinRoom", "payload": {"roomId": "a b"}}', "bad_request", "roomId"),
        *((json.dumps({"type": kind, "payload": {"roomId": "a\u200bb", "content": "x"}}), "bad_request",
           "roomId holds U+200B ZERO WIDTH SPACE at position 2")
          for kind in ("joinRoom", "leaveRoom", "clientMessages", "requestRoomHistory", "requestPresence")),
        (json.dumps({"type": "joinRoom", "payload": {"roomId": "cafe\u0301"}}), "bad_request", "NFC: U+0065"),
        ('{"type": "joinRoom", "payload": {"roomId": "a", "since": {"epoch": 1}}}', "bad_request", "since.seq"),
        ('{"type": "clientMessages", "payload": {"roomId": "a"}}', "bad_request", "content"),
        ('{"type": "clientMessages", "payload": {"content": "a"}}', "bad_request", "roomId"),
        ('{"type": "requestPresence", "payload": {"roomId": "a", "watch": true}}', "forbidden", "join a"),
        ('{"type": "requestRoomHistory", "payload": {"roomId": "a", "limit": 1000}}', "bad_request", "limit"),
        (json.dumps({"type": "clientMessages", "payload": {"roomId": "a", "content": "x" * 16_385}}),
         "too_large", "content"),
    ],
)  # fmt: skip
async def test_bad_input_gets_an_error_and_changes_nothing(alice: Client, frame: str, code: str, said: str) -> None:
    """The error names what is wrong; the session goes on."""
    error = await alice.error(frame)
    assert error["code"] == code
    assert said in error["message"]
    assert (await alice.answer("hello", {}, "hello"))["rooms"] == []


async def test_an_error_bears_the_ref_of_its_frame(alice: Client) -> None:
    """So that a client knows what failed; a ref that is none itself is not repeated."""
    frame = {"type": "clientMessages", "payload": {"roomId": "a b", "content": "x", "ref": "r"}}
    assert (await alice.error(json.dumps(frame)))["ref"] == "r"
    frame["payload"] = {"roomId": "a", "content": "x", "ref": 5}
    assert (await alice.error(json.dumps(frame)))["ref"] is None


async def test_binary_frames_are_refused(alice: Client) -> None:
    """Everything is text here."""
    await alice.connection.send(b"{}")
    await alice.until(lambda: alice.frames("error"))
    assert alice.frames("error")[0]["code"] == "bad_request"
    await alice.settle()


async def test_only_so_many_rooms_a_session(redis_url: str) -> None:
    """Joining one too many, by joinRoom or by sending, is forbidden; a joined one may be joined anew."""
    async with running(redis_url, max_rooms_per_session=2) as node, node.client(rooms="a,b") as client:
        for kind in ("joinRoom", "clientMessages"):
            error = await client.error(json.dumps({"type": kind, "payload": {"roomId": "c", "content": "x"}}))
            assert error["code"] == "forbidden"
        await join(client, "a")
        await client.answer("leaveRoom", {"roomId": "b"}, "left")
        await join(client, "c")
