"""Why a program ended, in words."""

import signal

from chatroom.up.endings import LastWords, how_it_ended


def test_its_last_error_line_counts_most() -> None:
    """Then its last line at all, then its exit code; blank lines and Rust's hint say nothing."""
    words = LastWords()
    assert words.why(3) == "ended with exit code 3"
    words.lines.append("working")
    assert words.why(3) == "working"
    words.errors.extend(["ValueError: broken ", "", "note: run with `RUST_BACKTRACE=1` environment variable"])
    assert words.why(3) == "ValueError: broken"


def test_signals_have_names() -> None:
    """As far as this machine knows them."""
    assert how_it_ended(-signal.SIGKILL) == "was killed by SIGKILL"
    assert how_it_ended(-99) == "was killed by signal 99"


def test_a_full_disk_is_the_cause_whatever_was_said_after_it() -> None:
    """Redis tells it one line earlier."""
    words = LastWords()
    words.lines.extend(["Error writing to the AOF file: No space left on device", "Can't recover. Exiting..."])
    assert words.why(1) == "Error writing to the AOF file: No space left on device"


def test_words_are_found_in_any_case() -> None:
    """Redis and Tansu write it differently."""
    words = LastWords()
    words.errors.append('Os { code: 98, kind: AddrInUse, message: "Address in use" }')
    assert words.speak_of("in USE")
    assert not words.speak_of("memory")
