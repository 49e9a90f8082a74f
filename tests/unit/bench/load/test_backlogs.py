"""Keeping up: what grows, is refused or is left over shows; what merely goes up and down does not."""

from collections.abc import Sequence
from typing import Any

import pytest

from bench.load.backlogs import BacklogSample, growth, judge

RATE = 1000.0


def told(**other: Any) -> dict[str, Any]:
    """What the load says of five seconds in which all was well."""
    samples = [(k / 4, 250 * k, 250 * k - 3, 2500 * k) for k in range(20)]
    return {
        "sent": 5000,
        "acked": 4997,
        "seconds": 5.0,
        "refused": {},
        "drained": True,
        "samples": samples,
        "whole": {"gone": 0},
    } | other


def looks(outbox: Sequence[int] = (9, 0, 12, 4), kafka: Sequence[int] = (0, 0, 0, 0)) -> list[BacklogSample]:
    """What waited, a look a second."""
    return [
        BacklogSample(float(k), length, 0.0, lag) for k, (length, lag) in enumerate(zip(outbox, kafka, strict=True))
    ]


def test_a_load_that_is_kept_up_with_has_no_fault() -> None:
    """Little waits, and it does not grow."""
    assert judge(RATE, told(), looks()).why == ""


@pytest.mark.parametrize(
    ("answer", "backlogs", "why"),
    [
        (told(refused={"overloaded": 2}), looks(), "refused"),
        (told(whole={"gone": 3}), looks(), "3 clients cut off"),
        (told(sent=4000, acked=4000), looks(), "the load sent only 800/s"),
        (told(acked=4500), looks(), "only 900/s acked"),
        (told(drained=False), looks(), "not all sent was answered"),
        (told(), looks(outbox=(100, 400, 700, 1000)), "outbox grows by 300/s"),
        (told(), looks(kafka=(0, 200, 400, 600)), "Kafka lag grows by 200/s"),
        (told(samples=[(k / 4, 250 * k, 150 * k, 0) for k in range(20)]), looks(), "unanswered grows by 400/s"),
    ],
)
def test_what_does_not_keep_up_is_named(answer: dict[str, Any], backlogs: list[BacklogSample], why: str) -> None:
    """Each way of not keeping up, by itself."""
    assert why in judge(RATE, answer, backlogs).why


def test_a_backlog_that_is_there_but_does_not_grow_is_no_fault() -> None:
    """Batches wait for one another; only a trend counts."""
    assert judge(RATE, told(), looks(outbox=(400, 380, 410, 390))).why == ""


def test_ups_and_downs_that_end_high_are_no_growth() -> None:
    """A batch that has just come is not a trend, however steep the line through it."""
    assert judge(RATE, told(), looks(outbox=(500, 0, 600, 20, 560, 0, 650), kafka=(0,) * 7)).why == ""


def test_growth_is_the_slope_of_the_points() -> None:
    """By least squares; one point has none."""
    assert growth([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2.0)
    assert growth([(0, 0), (1, 2), (2, 0)]) == pytest.approx(0.0)
    assert growth([(3, 7)]) == 0.0
