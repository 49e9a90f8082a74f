"""What `up` prints: names before lines, and never a wait."""

import os
import threading

from chatroom.up.output import LINE_BYTES, Console, Lines
from tests.support.loops import wait_until


def console(fd: int, *, colour: bool = False, queue_bytes: int = 1 << 20) -> tuple[Console, threading.Event]:
    """Return an open console and what it sets when its reader is gone."""
    gone = threading.Event()
    made = Console(fd, colour=colour, on_gone=gone.set, queue_bytes=queue_bytes)
    made.expect(["comet", "job"])
    made.open()
    return made, gone


def written(lines: list[tuple[str, str]], *, colour: bool = False) -> str:
    """Return what a console writes."""
    read_fd, write_fd = os.pipe()
    made, _ = console(write_fd, colour=colour)
    for name, text in lines:
        made.line(name, text)
    made.close()
    os.close(write_fd)
    with os.fdopen(read_fd) as reading:
        return reading.read()


def test_lines_begin_in_one_column_after_their_names() -> None:
    """Short names are filled up; `up` is one of them."""
    assert written([("comet", "a"), ("job", "b"), ("up", "c")]) == "comet | a\njob   | b\nup    | c\n"


def test_on_a_terminal_each_name_has_its_colour() -> None:
    """The text itself has none: whatever a child prints, nothing in it acts on the terminal."""
    comet, job = written([("comet", "a"), ("job", "b")], colour=True).splitlines()
    assert comet.startswith("\x1b[")
    assert comet.endswith("\x1b[0m a")
    assert comet.split("m")[0] != job.split("m")[0]


def test_what_a_child_prints_does_not_act_on_the_terminal() -> None:
    """Escapes are shown, tabs are blanks."""
    assert written([("comet", "a\x1b[2J\rb\x9b\u202ec\td")]) == "comet | a\\x1b[2J\\rb\\x9b\\u202ec    d\n"


def test_a_reader_that_takes_nothing_costs_lines_not_time() -> None:
    """The queue is bounded, the newest are dropped, and how many is told once there is room."""
    read_fd, write_fd = os.pipe()
    made, _ = console(write_fd, queue_bytes=1000)
    for number in range(20_000):  # far more than a pipe and the queue hold
        made.line("job", f"line {number}")
    with os.fdopen(read_fd) as reading:
        for text in reading:
            if text.rstrip().endswith("line 0"):
                break
        seen = [text]
        made_room = threading.Thread(target=seen.extend, args=(reading,), daemon=True)
        made_room.start()
        wait_until(lambda: made.idle, 10, "the queue is written")
        made.line("job", "the last")
        made.close()
        os.close(write_fd)
        made_room.join(10)
    assert any("lines were not shown" in more for more in seen)
    assert seen[-1] == "job   | the last\n"


def test_a_gone_reader_is_told_once_and_nothing_breaks() -> None:
    """`chatroom up | head`."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    made, gone = console(write_fd)
    made.line("comet", "x")
    assert gone.wait(5)
    made.line("comet", "y")
    made.close()
    os.close(write_fd)


async def test_chunks_become_lines() -> None:
    """Whatever the chunks are; an unfinished line comes at the end, bytes that are no UTF-8 are replaced."""
    lines: list[str] = []
    reading = Lines(lines.append)
    for chunk in (b"one\r\ntw", b"o\n\nth", b"r\xffee"):
        reading.data_received(chunk)
    assert lines == ["one", "two", ""]
    reading.connection_lost(None)
    assert lines[3:] == ["thr\N{REPLACEMENT CHARACTER}ee"]
    assert reading.ended.is_set()


async def test_a_line_without_an_end_is_cut() -> None:
    """A child that never ends its line takes no more memory than one line may."""
    lines: list[str] = []
    reading = Lines(lines.append)
    for _ in range(10):
        reading.data_received(b"x" * (LINE_BYTES // 2))
    assert len(lines) >= 3
    assert max(map(len, lines)) == LINE_BYTES
