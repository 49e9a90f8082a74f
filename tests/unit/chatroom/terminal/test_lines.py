"""A room's log as lines: grouped, wrapped, marked; every line fits."""

import time

from textual.content import Content

from chatroom.terminal.lines import STYLES, lay_out
from chatroom.terminal.room_log import Draft, DraftState, RoomLog, Said
from chatroom_client import Hole, Message, Position, System, User

ME = User("me", "Me")
BOB = User("u2", "Bob")
NOON_MS = int(time.mktime((2026, 11, 25, 12, 0, 0, 0, 0, -1)) * 1000)


def message(content: str, user: User = BOB, minutes: float = 0) -> Message:
    """Return a message, so many minutes behind noon."""
    return Message("r", 1, 1, "1-1", content, NOON_MS + int(minutes * 60_000), user)


def lines(*said: Said, width: int = 40, drafts: tuple[Draft, ...] = (), more: bool | None = True) -> list[str]:
    """Lay a log out and return what stands there, but for empty lines."""
    log = RoomLog("r", drafts=list(drafts), more=more)
    for one in said:
        log.take(one, None)
    found, _ = lay_out(log, width, ME)
    assert all(style in STYLES for line in found for _, style in line)
    texts = ["".join(part for part, _ in line) for line in found]
    assert all(Content(text).cell_length <= width for text in texts)
    return [text.strip() for text in texts if text.strip()]


DAY = "── Wednesday, 25 November 2026 ──"


def test_messages_of_one_sender_stand_under_one_name() -> None:
    """Until somebody else speaks, or five minutes pass."""
    said = [message("a"), message("b", minutes=1), message("c", ME, 2), message("d", ME, 9)]
    assert lines(*said) == [DAY, "Bob  12:00", "▎ a", "▎ b", "Me  12:02", "▎ c ✓", "Me  12:09", "▎ d ✓"]


def test_a_new_day_is_told() -> None:
    """By its name."""
    tomorrow = message("b", minutes=24 * 60)
    assert lines(message("a"), tomorrow)[3:] == ["── Thursday, 26 November 2026 ──", "Bob  12:00", "▎ b"]


def test_long_and_wide_text_is_wrapped_to_the_width() -> None:
    """Words, a word too long for a line, and letters of two cells; own line ends are kept."""
    found = lines(message("several words here\nsecond\n" + "x" * 30 + " 日本語の文章はとても長いです"), width=20)
    found = found[found.index("Bob  12:00") + 1 :]
    assert found[:3] == ["▎ several words", "▎ here", "▎ second"]
    assert (
        "".join(line.removeprefix("▎ ") for line in found[3:]).replace(" ", "")
        == "x" * 30 + "日本語の文章はとても長いです"
    )


def test_holes_and_system_lines_are_told_between_messages() -> None:
    """And the name stands again behind them."""
    found = lines(message("a"), Hole("r", Position(1, 1), "lost"), message("b"), System("test\nmessage"), width=80)
    assert found == [
        DAY,
        "Bob  12:00",
        "▎ a",
        "╌╌ messages are missing here: the server no longer has them ╌╌",
        "Bob  12:00",
        "▎ b",
        "◆ test",
        "message",
    ]


def test_what_is_sent_is_marked() -> None:
    """Pending, sent, and failed with the reason and what to do."""
    drafts = (
        Draft("1", "wait"),
        Draft("2", "there", DraftState.SENT),
        Draft("3", "no", DraftState.FAILED, "it is too large"),
    )
    assert lines(drafts=drafts, width=60) == [
        "▎ wait …",
        "▎ there ✓",
        "▎ no",
        "▎ ✗ not sent: it is too large. Ctrl+R sends it again, /drop",
        "▎ removes it.",
    ]


def test_a_long_text_that_failed_does_not_fill_the_screen() -> None:
    """It stands there until somebody does something about it."""
    draft = Draft("1", "word " * 100, DraftState.FAILED, "no")
    assert lines(drafts=(draft,), width=60)[3:] == ["▎ …", "▎ ✗ not sent: no. Ctrl+R sends it again, /drop removes it."]


def test_the_beginning_is_told_once_it_is_known() -> None:
    """Not before the history was asked."""
    assert lines(more=None) == lines(more=True) == []
    assert lines(more=False) == ["this is the beginning of r"]


def test_control_characters_and_markup_stay_text() -> None:
    """Nothing that others write moves the cursor or changes colours."""
    found = lines(message("\x1b[2J [red]x[/red]", User("u3", "\x1b]0;Eve")))
    assert found[1:] == ["␛]0;Eve  12:00", "▎ ␛[2J [red]x[/red]"]


def test_a_new_message_costs_only_its_own_lines() -> None:
    """What was laid out before is taken as it is, and laid out anew for another width."""
    log = RoomLog("r", more=True)
    log.take(message("a"), None)
    first, _ = lay_out(log, 40, ME)
    log.take(message("b"), None)
    second, starts = lay_out(log, 40, ME)
    assert all(one is other for one, other in zip(first, second, strict=False))
    assert starts == [0, len(first)]
    assert lay_out(log, 20, ME)[0][0] is not first[0]
