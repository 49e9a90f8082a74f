"""Frames: every bad input is refused by its field and its limit, every frame is read and written as the design says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from comet import frames
from comet.frames import Limits
from common.envelope import messages_of
from common.errors import BadRequest, RateLimited, TooLarge, Unavailable, UnknownType
from common.positions import Position
from tests.support.rooms import message, message_id, texts_of

LIMITS = Limits(content_bytes=10, messages=3)
LONE = "\ud83d"


def parse(frame: bytes) -> tuple[str, dict[str, Any]]:
    """Read a frame's text."""
    return frames.parse(frames.load(frame))


def text(value: object) -> bytes:
    """Return it as JSON, lone surrogates and all."""
    return json.dumps(value).encode()


def field_of(refused: pytest.ExceptionInfo[BadRequest]) -> str:
    """Return the field that was refused."""
    return refused.value.field


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(frames.TYPES))
def test_each_type_is_known(kind: str) -> None:
    """With its payload, or an empty one where it is missing; unknown fields are ignored."""
    assert parse(text({"type": kind, "payload": {"roomId": "a"}, "more": 1})) == (kind, {"roomId": "a"})
    assert parse(text({"type": kind})) == (kind, {})


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", ""), (b"{", ""), (b"\xff\xfe", ""), (b"[]", ""), (b"1", ""), (b"null", ""), (b'"ping"', ""),
        (b"{}", "type"), (b'{"type":null}', "type"), (b'{"type":["ping"]}', "type"),
        (b'{"type":"ping","payload":null}', "payload"), (b'{"type":"ping","payload":[]}', "payload"),
        (b'{"type":"ping","payload":"x"}', "payload"), (b'{"type":"ping"' + b'{"a":' * 2000, ""),
        (b"[" * 100_000, ""), (b'{"type":"\\ud83d"}', ""),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused(data: bytes, field: str) -> None:
    """By the field, where there is one; however deep it is nested."""
    with pytest.raises(BadRequest) as refused:
        parse(data)
    assert field_of(refused) == field


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    """Nothing else can happen."""
    try:
        kind, payload = parse(data)
    except BadRequest:
        return
    assert kind in frames.TYPES
    assert isinstance(payload, dict)


def test_an_unknown_type_is_named_shortly_with_the_known_ones() -> None:
    """However long it is."""
    with pytest.raises(UnknownType) as refused:
        parse(text({"type": "x" * 5000}))
    assert field_of(refused) == "type"
    assert len(refused.value.message) < 300
    assert "clientMessages" in refused.value.message


@pytest.mark.parametrize(("payload", "ref"), [({}, None), ({"ref": None}, None), ({"ref": "r"}, "r")])
def test_a_ref_is_optional(payload: dict[str, Any], ref: str | None) -> None:
    """Missing and null are the same."""
    assert frames.ref_of({"payload": payload}) == ref


@pytest.mark.parametrize("ref", [5, "", "x" * 129, LONE, {}])
def test_a_ref_that_is_none_is_refused(ref: object) -> None:
    """By its field."""
    with pytest.raises(BadRequest) as refused:
        frames.ref_of({"payload": {"ref": ref}})
    assert field_of(refused) == "ref"


@pytest.mark.parametrize("payload", [{}, {"roomId": None}, {"roomId": 7}, {"roomId": ""}, {"roomId": "a b"}])
def test_a_room_is_needed(payload: dict[str, Any]) -> None:
    """A room's id, no number."""
    with pytest.raises(BadRequest) as refused:
        frames.room_of(payload)
    assert field_of(refused) == "roomId"


def test_a_position_is_read() -> None:
    """Both numbers, from 0 on; a missing one means to join anew."""
    assert frames.since_of({}) is None
    assert frames.since_of({"since": None}) is None
    assert frames.since_of({"since": {"epoch": 0, "seq": 2**53}}) == Position(0, 2**53)


@pytest.mark.parametrize(
    ("since", "field"),
    [
        ([], "since"), ("1", "since"), ({}, "since.epoch"), ({"epoch": 1}, "since.seq"),
        ({"epoch": "1", "seq": 1}, "since.epoch"), ({"epoch": 1, "seq": -1}, "since.seq"),
        ({"epoch": 1, "seq": 1.0}, "since.seq"), ({"epoch": True, "seq": 1}, "since.epoch"),
        ({"epoch": 1, "seq": 2**53 + 1}, "since.seq"),
    ],
)  # fmt: skip
def test_a_position_that_is_none_is_refused(since: object, field: str) -> None:
    """By the number that is wrong."""
    with pytest.raises(BadRequest) as refused:
        frames.since_of({"since": since})
    assert field_of(refused) == field


def test_contents_are_one_or_a_list() -> None:
    """`content`, or `messages` where both are there."""
    assert frames.contents_of({"content": "a"}, LIMITS) == ["a"]
    assert frames.contents_of({"messages": [{"content": "a"}, {"content": "b", "more": 1}]}, LIMITS) == ["a", "b"]
    assert frames.contents_of({"content": "x", "messages": [{"content": "a"}]}, LIMITS) == ["a"]
    assert frames.contents_of({"content": "☃☃☃1"}, LIMITS) == ["☃☃☃1"]


@pytest.mark.parametrize(
    ("payload", "field", "error"),
    [
        ({}, "content", BadRequest), ({"content": ""}, "content", BadRequest), ({"content": 5}, "content", BadRequest),
        ({"content": None}, "content", BadRequest), ({"content": LONE}, "content", BadRequest),
        ({"content": "x" * 11}, "content", TooLarge), ({"content": "☃" * 4}, "content", TooLarge),
        ({"messages": None}, "messages", BadRequest), ({"messages": []}, "messages", BadRequest),
        ({"messages": {"content": "a"}}, "messages", BadRequest),
        ({"messages": [{"content": "a"}] * 4}, "messages", TooLarge),
        ({"messages": [{"content": "a"}, "b"]}, "messages[1].content", BadRequest),
        ({"messages": [{"content": "a"}, {}]}, "messages[1].content", BadRequest),
        ({"messages": [{"content": "x" * 11}]}, "messages[0].content", TooLarge),
    ],
)  # fmt: skip
def test_contents_that_are_none_are_refused(payload: dict[str, Any], field: str, error: type[BadRequest]) -> None:
    """By the field, and as too large where only the size is wrong, which counts bytes of UTF-8."""
    with pytest.raises(BadRequest) as refused:
        frames.contents_of(payload, LIMITS)
    assert (field_of(refused), type(refused.value)) == (field, error)


def test_a_page_of_history_is_read() -> None:
    """The newest and as many as there may be, unless said otherwise."""
    assert frames.history_of({}, 100) == (None, 100)
    assert frames.history_of({"firstMessageId": None, "limit": 1}, 100) == (None, 1)
    assert frames.history_of({"firstMessageId": "5-0", "limit": 100}, 100) == ("5-0", 100)


@pytest.mark.parametrize(
    ("payload", "field"),
    [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"limit": "5"}, "limit"), ({"limit": True}, "limit"),
     ({"limit": None}, "limit"), ({"firstMessageId": 5}, "firstMessageId"),
     ({"firstMessageId": "+"}, "firstMessageId")],
)  # fmt: skip
def test_a_page_that_is_none_is_refused(payload: dict[str, Any], field: str) -> None:
    """By its field."""
    with pytest.raises(BadRequest) as refused:
        frames.history_of(payload, 100)
    assert field_of(refused) == field


def test_watching_is_true_false_or_not_said() -> None:
    """Nothing else."""
    assert [frames.watch_of(payload) for payload in ({}, {"watch": None}, {"watch": True}, {"watch": False})] == [
        None, None, True, False,
    ]  # fmt: skip
    nonsense: list[object] = [1, "true", []]
    for watch in nonsense:
        with pytest.raises(BadRequest) as refused:
            frames.watch_of({"watch": watch})
        assert field_of(refused) == "watch"


# -- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_websocket_frame_bears_its_length(size: int) -> None:
    """In the shortest of the three ways that the protocol has, as RFC 6455 (5.2) wants it."""
    assert frames.websocket(b"x" * size) == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
    assert texts_of(frames.websocket(b"x" * size) * 2) == ["x" * size] * 2


def test_an_error_tells_code_message_and_ref() -> None:
    """The code is the error's own."""
    assert json.loads(frames.error(Unavailable("Redis is away"), "r")) == {
        "type": "error", "payload": {"code": "unavailable", "message": "Redis is away", "ref": "r"}
    }  # fmt: skip


def test_an_error_tells_when_to_send_again_where_that_is_known() -> None:
    """In milliseconds."""
    assert json.loads(frames.error(RateLimited("slow down", retry_after_ms=11), None)) == {
        "type": "error", "payload": {"code": "rate_limited", "message": "slow down", "ref": None, "retryAfterMs": 11}
    }  # fmt: skip


ROOM = frames.json_text('room "1"')
MESSAGES = message(5) + b"," + message(6)
FOUND = [json.loads(message(5)), json.loads(message(6))]


def test_pong_and_left_are_as_designed() -> None:
    """Both are short."""
    assert json.loads(frames.PONG) == {"type": "pong", "payload": {}}
    assert json.loads(frames.left('room "1"')) == {"type": "left", "payload": {"roomId": 'room "1"'}}


@pytest.mark.parametrize("ref", ['r "1"', None])
def test_ack_is_as_designed(ref: str | None) -> None:
    """Consecutive messages, each with the timestamp of its id; the ref as it came."""
    assert json.loads(frames.ack(ref, 'room "1"', 7, 5, [message_id(5), message_id(6)])) == {
        "type": "ack",
        "payload": {
            "ref": ref,
            "roomId": 'room "1"',
            "epoch": 7,
            "messages": [{name: one[name] for name in ("id", "seq", "timestamp")} for one in FOUND],
        },
    }


def test_server_messages_are_as_designed() -> None:
    """Messages stand in it as they are, and can be taken out again."""
    frame = frames.server_messages(ROOM, 7, MESSAGES)
    assert json.loads(frame) == {
        "type": "serverMessages", "payload": {"roomId": 'room "1"', "epoch": 7, "messages": FOUND}
    }  # fmt: skip
    assert messages_of(frame, FOUND[0]["seq"]) == messages_of(frame.decode(), FOUND[0]["seq"]) == MESSAGES


def test_joined_is_as_designed() -> None:
    """Position, the room's tail, whether recovered, messages and count."""
    assert json.loads(frames.joined(ROOM, Position(7, 6), MESSAGES, 3, tail=Position(8, 9), recovered=True)) == {
        "type": "joined",
        "payload": {
            "roomId": 'room "1"', "epoch": 7, "seq": 6, "tail": {"epoch": 8, "seq": 9}, "recovered": True,
            "messages": FOUND, "onlineCount": 3
        },
    }  # fmt: skip
    lost = json.loads(frames.joined(ROOM, Position(0, 0), b"", 1, tail=Position(0, 0), recovered=False))
    assert lost["payload"]["recovered"] is False


def test_hello_is_as_designed() -> None:
    """Who one is, the node, the session's limits, and each room with its newest messages."""
    rooms = [frames.hello_room(ROOM, Position(7, 6), MESSAGES, tail=Position(8, 9), more=True)]
    rooms.append(frames.hello_room(b'"b"', Position(0, 0), b"", tail=Position(0, 0), more=False))
    assert json.loads(frames.hello(b'{"id":"7"}', "node-1", b'{"rooms":3}', rooms)) == {
        "type": "hello",
        "payload": {
            "me": {"id": "7"},
            "node": "node-1",
            "limits": {"rooms": 3},
            "rooms": [
                {"id": 'room "1"', "name": 'room "1"', "epoch": 7, "seq": 6, "tail": {"epoch": 8, "seq": 9},
                 "messages": FOUND, "hasMoreMessages": True},
                {"id": "b", "name": "b", "epoch": 0, "seq": 0, "tail": {"epoch": 0, "seq": 0}, "messages": [],
                 "hasMoreMessages": False},
            ],
        },
    }  # fmt: skip


def test_history_and_presence_are_as_designed() -> None:
    """Both name their room."""
    assert json.loads(frames.room_history(ROOM, 7, MESSAGES, more=True)) == {
        "type": "roomHistory",
        "payload": {"roomId": 'room "1"', "epoch": 7, "messages": FOUND, "hasMoreMessages": True},
    }
    assert json.loads(frames.presence(ROOM, 5, [("7", 'Al "Ice"')])) == {
        "type": "presence",
        "payload": {"roomId": 'room "1"', "onlineCount": 5, "users": [{"id": "7", "username": 'Al "Ice"'}]},
    }


def test_no_other_module_makes_a_frame() -> None:
    """Comet's other modules hold no frame's text, and only `frames` puts a type around a payload."""
    folder = Path(frames.__file__).parent
    makers = [path.name for path in folder.glob("*.py") if re.search(r"""["']type\\?["']:""", path.read_text())]
    assert makers == ["frames.py"]
