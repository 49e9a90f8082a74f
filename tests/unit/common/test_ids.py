"""Ids: what names a room, a user, a message; and where a room's keys lie, for ever."""

from collections.abc import Callable

import pytest

from common import ids
from common.errors import BadRequest

LONE = "\ud83d"  # half of an emoji, as JSON can smuggle it in


@pytest.mark.parametrize("value", ["a", "room_001", "x" * 128, "ä:{1}*", "😀" * 128, "../..", "%00"])
def test_a_room_id_is_any_word(value: str) -> None:
    """Up to 128 characters of whatever script, but for white space, commas and controls."""
    assert ids.room_id(value) == value


@pytest.mark.parametrize(
    "value", ["", "x" * 129, "a b", "a\tb", "a,b", "a\x00", "a\u2003b", "a\x7f", None, 5, ["a"], LONE]
)
def test_what_is_no_room_id_is_refused_by_its_field(value: object) -> None:
    """The error names the field that the caller knows it by."""
    with pytest.raises(BadRequest, match=r"rooms") as refused:
        ids.room_id(value, "rooms")
    assert refused.value.field == "rooms"


@pytest.mark.parametrize(
    ("value", "user"), [("7", "7"), (7, "7"), (-7, "-7"), ("Al Ice", "Al Ice"), ("x" * 128, "x" * 128)]
)
def test_a_user_id_is_a_string_or_an_integer(value: object, user: str) -> None:
    """An integer becomes a string."""
    assert ids.user_id(value) == user


@pytest.mark.parametrize("value", ["", "x" * 129, 10**128, True, 1.5, None, "a\nb", "a\x00", LONE])
def test_what_is_no_user_id_is_refused(value: object) -> None:
    """True is no integer here, and no number of 129 digits is an id."""
    with pytest.raises(BadRequest, match="userId"):
        ids.user_id(value)


@pytest.mark.parametrize(
    ("check", "most"), [(ids.username, 64), (ids.ref, 128), (ids.user_id, 128), (ids.room_id, 128)]
)
def test_limits_count_characters(check: Callable[[object], str], most: int) -> None:
    """Not bytes; exactly at the limit is fine, one more is not."""
    assert check("☃" * most)
    with pytest.raises(BadRequest, match=str(most)):
        check("☃" * (most + 1))


@pytest.mark.parametrize("check", [ids.username, ids.ref, ids.user_id, ids.room_id])
@pytest.mark.parametrize("value", ["", 7.5, None, {}, LONE])
def test_nothing_else_is_a_name(check: Callable[[object], str], value: object) -> None:
    """Neither empty, nor of another type, nor what no UTF-8 holds."""
    with pytest.raises(BadRequest):
        check(value)


@pytest.mark.parametrize("value", ["1635724800123-0", "0-0", "9999999999999999999-1"])
def test_a_message_id_is_that_of_a_stream(value: str) -> None:
    """Milliseconds and a counter."""
    assert ids.message_id(value) == value


@pytest.mark.parametrize(
    "value", ["", "1", "-1-0", "1-", "a-0", "1-0-0", "12345678901234567890-0", "1-0\n", "(1-0", None, 1]
)
def test_what_is_no_message_id_is_refused(value: object) -> None:
    """Nothing else gets as far as Redis."""
    with pytest.raises(BadRequest, match="id"):
        ids.message_id(value)


@pytest.mark.parametrize(("room", "shard"), [("room_001", 6), ("room_123", 15), ("", 0), ("☃", 4), ("a", 3)])
def test_a_rooms_shard_never_changes(room: str, shard: int) -> None:
    """Written down: another answer would lose every room that is in Redis already."""
    assert ids.shard_of(room, 16) == shard


def test_rooms_spread_over_all_shards() -> None:
    """About evenly."""
    counts = [0] * 16
    for i in range(3200):
        counts[ids.shard_of(f"room_{i}", 16)] += 1
    assert min(counts) > 100


def test_refs_never_repeat() -> None:
    """Nor do those of two makers, as two nodes or two lives of one are."""
    one, two = ids.Refs(), ids.Refs()
    refs = {maker.new() for maker in (one, two) for _ in range(1000)}
    assert len(refs) == 2000
    assert all(ids.ref(ref) == ref for ref in refs)


def test_incarnations_never_repeat() -> None:
    """Each is a name of its own."""
    assert len({ids.new_incarnation() for _ in range(100)}) == 100
