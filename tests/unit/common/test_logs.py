"""Logs: ten lines a second an event, with what was cut counted; JSON or pretty; libraries look the same."""

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from common import logs
from common.characters import ACTING
from common.logs import LINES_PER_SECOND, MOST_EVENTS, EventLimiter

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


class Clock:
    """The monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """As time.monotonic."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    it = Clock()
    monkeypatch.setattr(time, "monotonic", it)
    return it


@pytest.fixture
def configured() -> Iterator[None]:
    """Put back how the test run itself logs."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the JSON lines logged so far."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# -- the limiter ---------------------------------------------------------------------------------------------------


def test_ten_lines_a_second_an_event_pass(clock: Clock) -> None:
    """The eleventh is cut; in the next second the first line tells how many were."""
    limiter = EventLimiter()
    assert [limiter.admit("sent") for _ in range(13)] == [0] * LINES_PER_SECOND + [None] * 3
    clock.now += 0.99
    assert limiter.admit("sent") is None
    clock.now += 0.01
    assert [limiter.admit("sent"), limiter.admit("sent")] == [4, 0]


def test_events_do_not_share_their_lines(clock: Clock) -> None:
    """One that floods hides no other."""
    limiter = EventLimiter(1)
    assert [limiter.admit("a"), limiter.admit("a"), limiter.admit("b")] == [0, None, 0]
    assert clock.now == 1000.0


def test_the_limiter_is_bounded() -> None:
    """Texts that are each another must not fill the memory."""
    limiter = EventLimiter()
    for i in range(MOST_EVENTS * 2 + 5):
        assert limiter.admit(f"event {i}") == 0


# -- lines ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("configured")
def test_a_line_is_json_with_service_level_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """And the text with its arguments put in."""
    logs.configure("comet", "info", "json")
    logs.get(name="logic_forward").info("sent to %s", "room_1", room="room_1")
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "event": "sent to room_1", "service": "comet", "name": "logic_forward", "room": "room_1"
    }  # fmt: skip


@pytest.mark.usefixtures("configured", "clock")
def test_texts_with_other_arguments_are_one_event(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    """Otherwise a flood in many rooms would pass; what was cut stands in the next line."""
    logs.configure("comet", "info", "json")
    log = logs.get()
    for i in range(25):
        log.info("sent to %s", i)
    clock.now += 1
    log.info("sent to %s", "all")
    found = lines(capsys)
    assert [line["event"] for line in found] == [*(f"sent to {i}" for i in range(10)), "sent to all"]
    assert found[-1]["suppressed"] == 15
    assert "suppressed" not in found[0]


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lesser_levels_are_not_logged(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    """Ours and those of libraries."""
    logs.configure("job", level, "json")
    log, library = logs.get(), logging.getLogger("some.library")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(f"ours {name}")
        getattr(library, name)(f"theirs {name}")
    assert len(lines(capsys)) == shown * 2


@pytest.mark.usefixtures("configured")
def test_libraries_look_the_same_and_get_a_line_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """A client that lost its server says so again and again."""
    logs.configure("job", "info", "json")
    for i in range(20):
        logging.getLogger("some.library").warning("can't reach %s", i)
    [line] = lines(capsys)
    assert (line["event"], line["level"], line["service"]) == ("can't reach 0", "warning", "job")


@pytest.mark.usefixtures("configured")
def test_an_exception_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line of JSON."""
    logs.configure("logic", "info", "json")
    try:
        json.loads("a fault")
    except ValueError:
        logs.get().exception("It failed", user="u")
    [line] = lines(capsys)
    assert (line["level"], line["user"], "JSONDecodeError: " in line["exception"]) == ("error", "u", True)


def _refuse(text: str) -> None:
    password = f"s3cret-{len(text)}"
    raise ValueError(text if password else "")


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("form", ["pretty", "json"])
def test_nothing_that_clients_write_acts_on_the_terminal(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """In events, fields and tracebacks, of ours and of libraries. A traceback shows no local variables either."""
    hostile = "a\x1b[2J\x9b31m\x7f\u202eb\u2066\u2028\nfake line\rc"
    logs.configure("logic", "info", form)
    log = logs.get()
    log.info("sent to %s", hostile, room=hostile, other=f"with blanks {hostile}", several=[hostile])
    logging.getLogger("some.library").warning("refused %s", hostile)
    try:
        _refuse(hostile)
    except ValueError:
        log.exception("It failed", user=hostile)
    out = capsys.readouterr().out
    assert [line for line in out.split("\n") if ACTING.search(line)] == []
    assert "ValueError: a\\" in out
    assert "s3cret-" not in out.replace('f"s3cret-', "")
    assert "\nfake line" not in out.partition("It failed")[0]
    assert "sent to a\\" in out


@pytest.mark.usefixtures("configured")
def test_away_from_a_terminal_auto_means_json(capsys: pytest.CaptureFixture[str]) -> None:
    """And pretty is no JSON."""
    logs.configure("logic", "info", "auto")
    logs.get().info("hello")
    assert lines(capsys)[0]["event"] == "hello"
    logs.configure("logic", "info", "pretty")
    logs.get().info("hello again")
    assert "hello again" in capsys.readouterr().out


@pytest.mark.usefixtures("configured")
def test_the_searches_of_the_operations_page_find_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a room, and of what is out of order."""
    logs.configure("comet", "info", "json")
    logs.get().warning("something", room="room_001")
    line = capsys.readouterr().out
    searches = re.findall(r"""grep (?:-E )?'("[^']+)'""", OPERATIONS.read_text())
    assert len(searches) == 2
    assert [one for one in searches if not re.search(one, line)] == []
