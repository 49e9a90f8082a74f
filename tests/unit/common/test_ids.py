"""Ids: what names a room, a user, a message; and where a room's keys lie, for ever."""

from collections.abc import Callable

import pytest

from common import ids
from common.errors import BadRequest

LONE = "\ud83d"  # half of an emoji, as JSON can smuggle it in


@pytest.mark.parametrize(
    "value",
    ["a", "room_001", "x" * 128, "ä:{1}*", "😀" * 128, "../..", "%00", "{3F2504E0}", "café", "日本語", "한국어"],
)
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


# -- characters ----------------------------------------------------------------------------------------------------

UNSEEN = [
    ("\x00", "U+0000 (a control character)"),
    ("\x1b", "U+001B (a control character)"),
    ("\x7f", "U+007F (a control character)"),
    ("\x9b", "U+009B (a control character)"),
    ("\u00ad", "U+00AD SOFT HYPHEN"),
    ("\u034f", "U+034F COMBINING GRAPHEME JOINER"),
    ("\u061c", "U+061C ARABIC LETTER MARK"),
    ("\u115f", "U+115F HANGUL CHOSEONG FILLER"),
    ("\u1160", "U+1160 HANGUL JUNGSEONG FILLER"),
    ("\u17b4", "U+17B4 KHMER VOWEL INHERENT AQ"),
    ("\u180e", "U+180E MONGOLIAN VOWEL SEPARATOR"),
    ("\u200b", "U+200B ZERO WIDTH SPACE"),
    ("\u200e", "U+200E LEFT-TO-RIGHT MARK"),
    ("\u2028", "U+2028 LINE SEPARATOR"),
    ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
    ("\u2066", "U+2066 LEFT-TO-RIGHT ISOLATE"),
    ("\u2060", "U+2060 WORD JOINER"),
    ("\u2800", "U+2800 BRAILLE PATTERN BLANK"),
    ("\u3164", "U+3164 HANGUL FILLER"),
    ("\ufdd0", "U+FDD0 (no character)"),
    ("\ufeff", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
    ("\uffa0", "U+FFA0 HALFWIDTH HANGUL FILLER"),
    ("\ufff9", "U+FFF9 INTERLINEAR ANNOTATION ANCHOR"),
    ("\uffff", "U+FFFF (no character)"),
    ("\U0001bca0", "U+1BCA0 SHORTHAND FORMAT LETTER OVERLAP"),
    ("\U0001d159", "U+1D159 MUSICAL SYMBOL NULL NOTEHEAD"),
    ("\U0001d173", "U+1D173 MUSICAL SYMBOL BEGIN BEAM"),
    ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"),
    (LONE, "U+D83D (a lone surrogate)"),
]
JOINERS = ["\u200c", "\u200d", "\ufe0f", "\U000e0100"]


@pytest.mark.parametrize("check", [ids.room_id, ids.user_id, ids.username])
@pytest.mark.parametrize(("unseen", "named"), UNSEEN)
def test_control_and_invisible_characters_are_refused_by_name(
    check: Callable[[object, str], str], unseen: str, named: str
) -> None:
    """The error says which character and where, counted in characters from 1; wherever it stands."""
    for at, value in ((3, f"ab{unseen}c"), (1, f"{unseen}ab"), (4, f"a☃b{unseen}")):
        with pytest.raises(BadRequest) as refused:
            check(value, "field")
        assert f"field holds {named} at position {at};" in refused.value.message
        assert refused.value.message.isascii()


@pytest.mark.parametrize("joiner", JOINERS)
def test_joiners_are_for_names_only(joiner: str) -> None:
    """Emoji, Persian and Hindi need them in names. Two ids that look the same are never two rooms or users."""
    name = f"a{joiner}b"
    assert ids.username(name) == name
    for check in (ids.room_id, ids.user_id):
        with pytest.raises(BadRequest, match="at position 2"):
            check(name, "field")


@pytest.mark.parametrize(
    "name", ["Zoë", "山田　太郎", "नेहा क्‍ष", "می‌خواهم", "👩‍❤️‍👨", "葛󠄀城", "O'Neil-Łoś", "\u0600\u0661"]
)
def test_names_of_all_scripts_are_taken_as_they_are(name: str) -> None:
    """With blanks inside, joiners and visible format characters."""
    assert ids.username(name) == name


@pytest.mark.parametrize(
    ("given", "name"),
    [("cafe\u0301", "café"), ("  Al Ice ", "Al Ice"), ("\u3000Bob\u00a0", "Bob"), ("e\u0301" * 64, "é" * 64)],
)
def test_names_are_normalized_and_trimmed(given: str, name: str) -> None:
    """Before their length counts."""
    assert ids.username(given) == name


@pytest.mark.parametrize("name", [" ", "\u2003\u00a0", "\u200d", " \ufe0f "])
def test_a_name_of_blanks_is_refused(name: str) -> None:
    """Nobody would see it."""
    with pytest.raises(BadRequest, match="not only blanks"):
        ids.username(name)


def test_a_name_far_past_its_limit_is_refused_before_it_is_normalized() -> None:
    """That would cost the square of its length."""
    with pytest.raises(BadRequest, match="64"):
        ids.username("\u0316\u0301" * 50_000)


@pytest.mark.parametrize("check", [ids.room_id, ids.user_id])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("cafe\u0301", "U+0065 LATIN SMALL LETTER E at position 4 should be U+00E9"),
        ("\u212b", "U+212B ANGSTROM SIGN at position 1 should be U+00C5"),
        ("a\u0301\u0316", "U+0061 LATIN SMALL LETTER A at position 1 should be U+00E1"),
        ("x\u0301\u0316", "U+0301 COMBINING ACUTE ACCENT at position 2 should be U+0316"),
        ("\u0958", "U+0958 DEVANAGARI LETTER QA at position 1 should be U+0915"),
    ],
)
def test_an_id_that_is_not_nfc_is_refused_and_never_changed(
    check: Callable[[object, str], str], value: str, told: str
) -> None:
    """Otherwise the same word would be two rooms, or two users."""
    with pytest.raises(BadRequest) as refused:
        check(value, "field")
    assert refused.value.message == f"field is not in Unicode's form NFC: {told}"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (" a", "U+0020 SPACE at position 1"),
        ("a ", "U+0020 SPACE at position 2"),
        ("a\u00a0b", "U+00A0 NO-BREAK SPACE at position 2"),
        ("a\u3000b", "U+3000 IDEOGRAPHIC SPACE at position 2"),
    ],
)
def test_a_user_id_holds_spaces_only_inside(value: str, named: str) -> None:
    """And no other blanks, which look the same."""
    with pytest.raises(BadRequest) as refused:
        ids.user_id(value)
    assert named in refused.value.message


@pytest.mark.parametrize("value", ["a\u200bb", "cafe\u0301", "\x9b", "\u202ea"])
def test_what_earlier_versions_accepted_stays_readable(value: str) -> None:
    """The rules of then, for what is stored, forwarded or in Kafka."""
    assert ids.stored_room_id(value) == value
    assert ids.stored_user_id(value) == value
    assert ids.stored_username(value) == value


@pytest.mark.parametrize("check", [ids.stored_room_id, ids.stored_user_id, ids.stored_username])
@pytest.mark.parametrize("value", ["", "a\x00", "x" * 129, None, LONE])
def test_the_earlier_rules_were_rules_too(check: Callable[[object], str], value: object) -> None:
    """Nothing else was ever stored."""
    with pytest.raises(BadRequest):
        check(value)


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
