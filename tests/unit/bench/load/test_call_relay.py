"""The relay's view of HTTP/2: calls are found and timed however the bytes are cut."""

import time

import pytest

from bench.load import wire
from bench.load.call_relay import DATA, END_STREAM, HEADERS, PREFACE, Calls, Frames


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_frames_are_found_however_they_come_apart(step: int) -> None:
    """A head cut in two, several frames in one read, the preface before them."""
    sent = [(HEADERS, 4, 1, b"h" * 300), (DATA, 0, 1, b""), (DATA, END_STREAM, 1, b"body" * 500)]
    text = PREFACE + b"".join(frame(*one) for one in sent)
    frames, found = Frames(), list[tuple[int, int, int, bytes]]()
    for at in range(0, len(text), step):
        found += frames.take(text[at : at + step])
    assert found == sent


def test_a_call_counts_once_and_each_of_its_messages_has_its_age() -> None:
    """What was sent before the measurement began is not counted, nor is a call that carries no message."""
    calls = Calls()
    old = wire.stamp()
    calls.begin(time.monotonic())
    calls.done(b"x" + wire.stamp() + b"y" + wire.stamp() + old)
    calls.done(old)
    calls.done(b"health")
    assert (calls.calls, len(calls.ages_ns)) == (1, 2)
    assert all(0 <= age < 60e9 for age in calls.ages_ns)
