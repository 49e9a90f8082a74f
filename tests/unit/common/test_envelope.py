"""A message's text in each of its shapes: put together once, joined, and only taken apart where it must be."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import envelope
from common.envelope import Burst, User
from common.errors import BadRequest

ALICE = User("alice", "Alice")


def body_of(content: str, user: User) -> bytes:
    """Return what append.lua writes into the stream."""
    return b'"content":%b,"user":%b}' % (orjson.dumps(content), user.to_json())


def messages(first: int, *contents: str) -> bytes:
    """Return messages' JSON."""
    bodies = (body_of(content, ALICE) for content in contents)
    return b",".join(envelope.message(b"1635724800123-%d" % seq, seq, body) for seq, body in enumerate(bodies, first))


@given(content=st.text(), user_id=st.text(min_size=1), name=st.text(min_size=1), seq=st.integers(1, 2**53))
def test_a_message_is_json_whatever_it_holds(content: str, user_id: str, name: str, seq: int) -> None:
    """With the fields that clients know, and the timestamp of its id."""
    body = body_of(content, User(user_id, name))
    assert orjson.loads(envelope.message(b"1635724800123-7", seq, body)) == {
        "id": "1635724800123-7",
        "seq": seq,
        "timestamp": 1635724800123,
        "content": content,
        "user": {"id": user_id, "username": name},
    }


def test_a_burst_is_read_as_append_publishes_it() -> None:
    """A head line, then the messages as they are, line breaks in them or not."""
    text = messages(5, "a\nb", "c")
    burst = envelope.parse_burst(b"1700 5 2\n" + text)
    assert (burst, burst.last_seq) == (Burst(1700, 5, 2, text), 6)


@pytest.mark.parametrize("payload", [b"", b"hello", b"1 2\n{}", b"1 2 3 4\n{}", b"a 2 3\n{}", b"\n{}"])
def test_anything_else_is_no_burst(payload: bytes) -> None:
    """Somebody else publishes there."""
    with pytest.raises(ValueError, match=r".*"):
        envelope.parse_burst(payload)


@given(contents=st.lists(st.text(), min_size=2, max_size=6), data=st.data())
def test_a_burst_can_be_cut(contents: list[str], data: st.DataObject) -> None:
    """What lies behind a seq inside it, with nothing changed but its beginning."""
    burst = Burst(7, 100, len(contents), messages(100, *contents))
    cut = data.draw(st.integers(1, len(contents) - 1))
    rest = burst.after(99 + cut)
    assert (rest.epoch, rest.first_seq, rest.count, rest.last_seq) == (
        7,
        100 + cut,
        len(contents) - cut,
        burst.last_seq,
    )
    found = orjson.loads(b"[%b]" % rest.messages)
    assert [(one["seq"], one["content"]) for one in found] == list(enumerate(contents, 100))[cut:]


@pytest.mark.parametrize("count", [1, 3])
def test_a_burst_that_holds_another_number_of_messages_than_it_says_is_not_cut(count: int) -> None:
    """Its seqs would be somebody else's."""
    messages = b'{"seq":5},{"seq":6}'
    with pytest.raises(ValueError, match=f"2 messages where {count} were announced"):
        Burst(1, 5, count, messages).after(5)


def test_a_frames_messages_are_taken_out_unchanged() -> None:
    """From text or bytes; and they can be split."""
    text = messages(1, "one, two", '"} ]')
    frame = b'{"type":"serverMessages","payload":{"roomId":"a","epoch":1700,"messages":[%b]}}' % text
    assert envelope.messages_of(frame, 1) == envelope.messages_of(frame.decode(), 1) == text
    assert envelope.split(text) == [messages(1, "one, two"), messages(2, '"} ]').replace(b"123-2", b"123-2")]


@pytest.mark.parametrize(
    "body",
    ["", "text", "{}", "[]", "null", '"x"', '{"payload":[]}', '{"payload":{"messages":null}}',
     '{"payload":{"messages":[]}}', '{"payload":{"messages":{}}}', '{"payload":{"messages":"ab"}}',
     '{"payload":{"messages":[1]}}', b"\xff"],
)  # fmt: skip
def test_what_is_no_frame_has_no_messages(body: str | bytes) -> None:
    """A push that claims a position must carry what has one."""
    with pytest.raises(BadRequest) as refused:
        envelope.messages_of(body, 1)
    assert refused.value.field == "body"


@pytest.mark.parametrize("seqs", [[2], [1, 3], [1, 1], [1, None], [2**53 - 1]])
def test_messages_with_other_seqs_than_the_position_are_refused(seqs: list[int | None]) -> None:
    """A client takes the seq inside a message as its position."""
    body = orjson.dumps({"payload": {"messages": [{"seq": seq} for seq in seqs]}})
    with pytest.raises(BadRequest, match="must count up from 1") as refused:
        envelope.messages_of(body, 1)
    assert refused.value.field == "body"
