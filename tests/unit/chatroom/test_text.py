"""What people are shown: harmless, one line each, the same as JSON."""

import json

import pytest

from chatroom import text
from chatroom_client import Hole, Message, Position, Reconnecting, Removed, System, User
from common.characters import ACTING

MESSAGE = Message("r", 9, 4, "1700000000123-0", "hi\nthere", 1_700_000_000_123, User("u1", "Al\x1b[31mice"))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain text, Grüße, 日本語", "plain text, Grüße, 日本語"),
        ("two\nlines\r\nthree", "two ⏎ lines ⏎ three"),
        ("a\ttab", "a tab"),
        ("\x1b[2Jcleared\x07", "␛[2Jcleared␇"),
        ("C1 \x9b31m, DEL \x7f", "C1 \ufffd31m, DEL \ufffd"),
        ("user\u202egnp.exe", "user\ufffdgnp.exe"),
        ("isolated \u2067abc\u2069, separated \u2028", "isolated \ufffdabc\ufffd, separated \ufffd"),
        ("half a pair \ud83d", "half a pair \ufffd"),
        ("👩\u200d❤\ufe0f\u200d👨, \u0645\u06cc\u200c\u062e", "👩\u200d❤\ufe0f\u200d👨, \u0645\u06cc\u200c\u062e"),
    ],
)
def test_control_characters_do_nothing(written: str, shown: str) -> None:
    """What others wrote can neither move the cursor nor turn the text around."""
    assert text.plain(written) == shown


def test_a_message_is_one_line() -> None:
    """With the time, who said it and what."""
    line = text.line(MESSAGE)
    assert line is not None
    assert line.endswith("  Al␛[31mice: hi ⏎ there")
    assert line.startswith(text.moment(MESSAGE.timestamp))


def test_a_message_as_json_has_all_that_resuming_needs() -> None:
    """And its content as it is: JSON hides control characters by itself."""
    shown = text.as_json(MESSAGE)
    assert shown is not None
    assert "\x1b" not in shown
    assert json.loads(shown) == {
        "type": "message",
        "room": "r",
        "epoch": 9,
        "seq": 4,
        "id": "1700000000123-0",
        "timestamp": 1_700_000_000_123,
        "content": "hi\nthere",
        "user": {"id": "u1", "username": "Al\x1b[31mice"},
    }


def test_json_hides_all_that_acts_on_a_terminal() -> None:
    """Also what JSON itself leaves as it is; a reader of the JSON gets every character."""
    content = "".join(map(chr, [*range(0xA0), 0x2028, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xD83D])) + "é☃😀"
    shown = text.dumps({"content": content})
    assert not ACTING.search(shown)
    assert "é☃😀" in shown
    assert json.loads(shown) == {"content": content}


def test_lines_are_kept_where_there_are_several() -> None:
    """And harmless each."""
    assert text.harmless("a\x1b[2J\nb\rc") == "a␛[2J\nb␍c"


def test_a_hole_is_told_in_both_ways() -> None:
    """Never skipped."""
    hole = Hole("r", Position(9, 4), "lost")
    assert text.line(hole) == "-- messages are missing here: the server no longer has them --"
    told = {"type": "hole", "room": "r", "after": {"epoch": 9, "seq": 4}, "why": "lost"}
    assert json.loads(text.as_json(hole) or "") == told


def test_a_pushed_text_is_a_system_line() -> None:
    """In both ways."""
    assert text.line(System("test message")) == "** test message"
    assert json.loads(text.as_json(System("test message")) or "") == {"type": "system", "text": "test message"}


def test_what_becomes_of_the_connection_is_no_part_of_what_was_said() -> None:
    """It is told elsewhere."""
    lost = Reconnecting(1006, "gone", 0.25)
    assert (text.line(lost), text.as_json(lost)) == (None, None)
    assert text.trouble(lost) == "connection lost (1006 gone): trying again in 250 ms"
    assert text.trouble(Removed("r", "banned")) == "removed from r: banned"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.004, "4 ms"),
        (1, "1 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3660, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_ages_are_told_in_two_units_at_most(seconds: float, shown: str) -> None:
    """The larger ones."""
    assert text.age(seconds) == shown


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """And no line ends with blanks."""
    assert text.table(["a", "bbb"], [["long", "c"], ["x", ""]]) == "a     bbb\nlong  c\nx"
