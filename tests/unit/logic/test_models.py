"""logic/models.py: what is accepted, and what a fault says."""

from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from pydantic import ValidationError

from common import ids
from common.errors import BadRequest
from logic.answers import fault_of
from logic.api import parse_batch
from logic.models import Broadcast, Push, Send
from tests import conformance

FORGED: Final = orjson.loads((Path(conformance.__path__[0]) / "forged.json").read_bytes())
MESSAGE = {"id": "1-0", "seq": 1, "epoch": 9, "timestamp": 1, "content": "x"}


def _send(**changes: object) -> dict[str, Any]:
    return {"roomId": "room", "userId": "u", "userName": "n", "messages": [{"content": "x"}], **changes}


def _fault(body: object) -> BadRequest:
    with pytest.raises(ValidationError) as found:
        Send.model_validate_json(orjson.dumps(body))
    return fault_of(found.value)


def test_the_documented_body_is_accepted_and_its_integer_user_becomes_a_string() -> None:
    """`{"roomId": ..., "userId": 1001, ...}`."""
    send = Send.model_validate_json(
        b'{"roomId": "room_123", "userId": 1001, "userName": "Alice", "messages": [{"content": "Hello World"}]}'
    )
    assert (send.room_id, send.user_id, send.user_name, send.ref) == ("room_123", "1001", "Alice", None)
    assert [one.content for one in send.messages] == ["Hello World"]
    assert not send.from_comet


def test_comets_messages_carry_their_positions() -> None:
    """All of id, seq, epoch, timestamp."""
    send = Send.model_validate(_send(messages=[MESSAGE, MESSAGE | {"id": "2-0", "seq": 2}]))
    assert send.from_comet
    assert [one.seq for one in send.messages] == [1, 2]


@pytest.mark.parametrize(
    "messages",
    [
        [MESSAGE, MESSAGE | {"seq": 3}],
        [MESSAGE, MESSAGE | {"seq": 2, "epoch": 10}],
        [MESSAGE, {"content": "y"}],
        [{"content": "y"}, MESSAGE],
        *([{key: value for key, value in MESSAGE.items() if key != left_out}] for left_out in ("id", "seq", "epoch")),
        [{key: value for key, value in MESSAGE.items() if key != "timestamp"}],
    ],
)
def test_positions_are_whole_and_consecutive_or_absent(messages: list[dict[str, object]]) -> None:
    """Everything else is a bad request that names the message."""
    fault = _fault(_send(messages=messages))
    assert fault.field in {"messages[0].seq", "messages[1].seq"}
    assert fault.field in fault.message


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("roomId", "r" * ids.ROOM_ID_CHARS, "r" * (ids.ROOM_ID_CHARS + 1)),
        ("userId", "u" * ids.USER_ID_CHARS, "u" * (ids.USER_ID_CHARS + 1)),
        ("userName", "n" * ids.USERNAME_CHARS, "n" * (ids.USERNAME_CHARS + 1)),
        ("ref", "f" * ids.REF_CHARS, "f" * (ids.REF_CHARS + 1)),
    ],
)
def test_limits_are_those_of_ids_and_are_told(field: str, good: str, bad: str) -> None:
    """The longest is accepted, one more is not."""
    Send.model_validate(_send(**{field: good}))
    fault = _fault(_send(**{field: bad}))
    assert fault.field == field
    assert str(len(good)) in fault.message


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("roomId", "a\u200bb", "U+200B ZERO WIDTH SPACE at position 2"),
        ("roomId", "cafe\u0301", "position 4"),
        ("userId", "\u202eEve", "U+202E RIGHT-TO-LEFT OVERRIDE at position 1"),
        ("userName", "Eve\x9b", "U+009B (a control character) at position 4"),
    ],
)
def test_a_backends_ids_follow_todays_rules_and_comets_those_of_then(field: str, value: str, named: str) -> None:
    """What Comet accepted, perhaps as an earlier version, waits in the outbox: to refuse it would lose it."""
    fault = _fault(_send(**{field: value}))
    assert (fault.field, named in fault.message) == (field, True)
    stored = Send.model_validate(_send(messages=[MESSAGE], **{field: value}))
    assert value in {stored.room_id, stored.user_id, stored.user_name}


def test_a_backends_name_is_normalized_and_comets_kept() -> None:
    """Kafka agrees with the room's log."""
    name = " Zoe\u0308 "
    assert Send.model_validate(_send(userName=name)).user_name == "Zoë"
    assert Send.model_validate(_send(userName=name, messages=[MESSAGE])).user_name == name


def test_a_push_names_users_by_legal_ids() -> None:
    """Nobody else can be online."""
    with pytest.raises(ValidationError, match=r"userId holds U\+200B"):
        Push.model_validate({"userIds": ["a\u200b"], "body": "x"})


@pytest.mark.parametrize("user", [True, 1.0, None, [], "", "a\nb"])
def test_a_user_id_is_a_string_or_an_integer(user: object) -> None:
    """And nothing that merely looks like one."""
    assert _fault(_send(userId=user)).field == "userId"


@pytest.mark.parametrize("seq", ["1", 1.0, True, 0, -1, 2**63])
def test_a_seq_is_a_whole_number_that_a_push_msg_holds(seq: object) -> None:
    """Nothing is guessed from other types."""
    assert _fault(_send(messages=[MESSAGE | {"seq": seq}])).field == "messages[0].seq"


def test_null_is_as_good_as_absent_and_unknown_fields_are_ignored() -> None:
    """Some clients write every field of their classes."""
    nothing = dict.fromkeys(("id", "seq", "epoch", "timestamp"))
    send = Send.model_validate(_send(ref=None, colour="red", messages=[{"content": "x", "mood": 1, **nothing}]))
    assert send.ref is None
    assert not send.from_comet


def test_each_send_of_a_batch_is_judged_alone() -> None:
    """The good ones are as they would be without the bad one."""
    sends = [_send(), _send(roomId="a b"), 5, _send(messages=[{"content": 1}]), _send(roomId="last")]
    found = parse_batch(orjson.dumps({"sends": sends}))
    assert [type(one) for one in found] == [Send, BadRequest, BadRequest, BadRequest, Send]
    assert found[0] == Send.model_validate(sends[0])
    assert [one.field for one in found if isinstance(one, BadRequest)] == ["roomId", "", "messages[0].content"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"sends": {}}', b'{"sends": null}', b'{"sends": [', b"\xff"])
def test_what_is_no_batch_is_refused_as_a_whole(body: bytes) -> None:
    """There is no send to blame."""
    with pytest.raises(ValidationError):
        parse_batch(body)


def test_a_frame_is_a_text_or_an_object() -> None:
    """For pushes and broadcasts alike."""
    assert Push.model_validate({"userIds": [1], "body": {"a": 1}}).body == {"a": 1}
    assert Broadcast.model_validate({"body": "x"}).speed == 0
    for body in ("", 1, ["x"], None):
        with pytest.raises(ValidationError) as found:
            Broadcast.model_validate({"body": body})
        assert fault_of(found.value).field == "body"


@pytest.mark.parametrize("row", FORGED, ids=[row["name"] for row in FORGED])
@pytest.mark.parametrize(("model", "fields"), [(Push, b'"userIds":["a"],'), (Broadcast, b"")])
def test_a_forged_frame_is_refused_as_text_and_as_an_object(
    model: type[Push | Broadcast], fields: bytes, row: dict[str, str]
) -> None:
    """Clients would obey it. The error names the field and the type."""

    def fault_with(body: bytes) -> BadRequest:
        with pytest.raises(ValidationError) as found:
            model.model_validate_json(b'{%b"body":%b}' % (fields, body))
        return fault_of(found.value)

    told = f"body must not be a frame of type {row['type']}"
    as_text, as_object = fault_with(orjson.dumps(row["text"])), fault_with(row["text"].encode())
    assert (as_text.field, as_text.message.startswith(told)) == ("body", True)
    if row["name"] in {"half of a surrogate pair", "a long number"}:  # pydantic reads no such JSON
        told = "the body is not JSON"
    assert as_object.message.startswith(told)
