"""Waits: what connected clients waited for, which fault that is blamed on, and which waits are too long."""

from math import inf

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import Evidence, Seen, Span, Stored, Struck
from tests.chaos.faults import KINDS
from tests.chaos.logs import Logs
from tests.chaos.rules_load import offered_rates
from tests.chaos.verdict import CALM
from tests.chaos.waits import BEHIND, PUBSUB, delay, waits
from tests.chaos.windows import Windows
from tests.unit.chaos.sound import BEGAN, ROOMS, sound, strike, with_faults


def waiting(run: Evidence, appended_s: float, seen_s: float, view: int = 0) -> Evidence:
    """Let one client see a further message late; times since the run's beginning."""
    seq = len(run.stored[ROOMS[0]]) + 1
    message_id = f"{round((BEGAN + appended_s) * 1000)}-0"
    run.stored[ROOMS[0]].append(Stored(seq, run.stored[ROOMS[0]][-1].epoch, message_id, "late"))
    run.views[view].seen.append(Seen(run.stored[ROOMS[0]][-1].epoch, seq, message_id, "late", BEGAN + seen_s))
    return run


def longest(run: Evidence) -> float:
    """Return the longest wait in seconds."""
    return max(wait.lasted_s for wait in waits(run))


@pytest.mark.parametrize(
    ("apart", "counts"),
    [
        ([], True),
        ([(1.0, 9.9)], True),
        ([(18.1, 19.0)], True),
        ([(1.0, 2.0), (3.0, 10.0)], False),
        ([(9.0, 10.5)], False),
        ([(12.0, 14.0), (18.5, 19.0)], False),
        ([(17.0, 18.0)], False),
        ([(18.0, inf)], False),
    ],
)
def test_who_was_not_connected_did_not_wait(apart: list[tuple[float, float]], *, counts: bool) -> None:
    """A wait from 10 to 18 s does not count if its client was away in any of it."""
    run = waiting(sound(), 10.0, 18.0)
    run.views[0].apart = [Span(BEGAN + began, BEGAN + ended) for began, ended in apart]
    assert longest(run) == pytest.approx(8.0 if counts else 0.003, abs=0.001)


def test_another_client_that_was_connected_waits_all_the_same() -> None:
    """Though the one that saw it last was away."""
    run = waiting(sound(), 10.0, 18.0)
    run.views[0].apart = [Span(BEGAN + 12, BEGAN + 13)]
    run.views[1].seen.append(run.views[0].seen[-1]._replace(at=BEGAN + 15))
    assert longest(run) == pytest.approx(5.0)


def test_what_was_appended_before_a_client_joined_is_no_wait() -> None:
    """It is shown as history."""
    run = waiting(sound(), 10.0, 18.0)
    run.views[0].joined_at = BEGAN + 10.1
    assert longest(run) < 1


@pytest.mark.parametrize(
    ("began", "ended", "kind"),
    [
        (0.0, 1.0, CALM),  # before the first
        (3.0, 4.0, "first"),
        (1.0, 2.5, "first"),
        (6.5, 6.9, "first"),  # between the two
        (6.5, 7.5, "second"),  # the only one in force
        (5.0, 9.0, "second"),  # 1 s in the first, 2 s in the second
        (3.0, 8.0, "first"),  # 3 s in the first, 1 s in the second, in the first's aftermath too
        (7.5, 7.5, "second"),
        (18.0, 18.9, "second"),
        (19.5, 20.0, CALM),  # its aftermath is over
    ],
)
def test_a_wait_is_blamed_on_the_fault_in_force_for_most_of_it(began: float, ended: float, kind: str) -> None:
    """Whatever the aftermath of the one before."""
    windows = Windows([Struck(1, "first", 2.0, 6.0, ""), Struck(2, "second", 7.0, 11.0, "")])
    fault = windows.of_wait(began, ended)
    assert (fault.kind if fault is not None else CALM) == kind


@pytest.mark.parametrize(
    ("kind", "lasts_s", "broken"),
    [
        ("kill_kafka", 2.9, False),
        ("kill_kafka", 3.1, True),
        ("cut_pubsub", 5.9, False),
        ("cut_pubsub", 6.1, True),
        ("freeze_comet", 9.0, False),
    ],
)
def test_what_leaves_the_real_time_path_alone_delays_nobody(kind: str, lasts_s: float, *, broken: bool) -> None:
    """Faults that hurt the path itself are not bounded."""
    run = waiting(sound(), 21.0, 21.0 + lasts_s)
    strike(run, kind, 20.0, 10.0)
    found = list(delay(run, Logs(run)))
    assert bool(found) == broken
    assert "delay" in {one.rule for one in check(run).violations} or not broken


def test_a_wait_that_began_before_the_fault_is_not_its_doing() -> None:
    """The one before held it up, and the fault only struck meanwhile."""
    run = waiting(sound(), 19.0, 25.0)
    with_faults(run, ["freeze_redis"], length_s=4.0, pause_s=15.5)
    strike(run, "kill_logic", 20.0, 8.0)
    assert not list(delay(run, Logs(run)))


def test_bounded_kinds_are_kinds() -> None:
    """A kind that is renamed must not lose its bound."""
    assert set(KINDS) >= BEHIND | PUBSUB


def test_load_is_measured_under_faults_that_last() -> None:
    """A short one has too few messages to count."""
    run = sound()
    strike(run, "kill_redis", 20.0, 4.0)
    strike(run, "cut_clients", 26.0, 1.9)
    [(fault, rate)] = offered_rates(run)
    assert (fault.kind, round(rate)) == ("kill_redis", 200)
