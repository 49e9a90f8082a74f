"""Waits between tries: full jitter under a bound that doubles."""

import random

from chatroom_client.connection import Waits, parse


class Highest(random.Random):
    """Always draws the upper end."""

    def uniform(self, _a: float, b: float) -> float:
        """Return the upper end."""
        return b


def test_the_bound_doubles_up_to_its_cap() -> None:
    """And begins anew after a good connection."""
    waits = Waits(0.5, 3.0, Highest())
    assert [waits.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    waits.reset()
    assert waits.next_s() == 0.5


def test_each_wait_lies_anywhere_below_its_bound() -> None:
    """A thousand clients that lost one server at once come back all over the interval."""
    waits = sorted(Waits(1.0, 1.0, random.Random(seed)).next_s() for seed in range(1000))  # noqa: S311 - reproducible
    assert all(any(i / 10 <= one < (i + 1) / 10 for one in waits) for i in range(10))


def test_only_objects_with_a_type_and_a_payload_are_frames() -> None:
    """All else is shown as it is."""
    assert parse('{"type":"pong","payload":{"a":1}}') == ("pong", {"a": 1})
    for text in ("hi", "", "[]", "{", '{"type":1,"payload":{}}', '{"type":"a","payload":[]}', '{"type":"a"}'):
        assert parse(text) is None
