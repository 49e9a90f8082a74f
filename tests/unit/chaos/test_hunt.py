"""A mutant counts as caught only by the rule and effect demanded, and never by what had merely not arrived yet."""

import pytest

from tests.chaos.evidence import Evidence, Produced, Struck
from tests.chaos.hunt import HUNTS
from tests.chaos.verdict import DOUBLED, LOST, Violation

HUNT = {hunt.mutant: hunt for hunt in HUNTS}["outbox_entry_dropped"]
RUN = Evidence(0.0, 40.0, faults=[Struck(1, "kill_logic", 10.0, 15.0, "")])
RUN.produced = [Produced(0, 0, 12.0, "r", 1, seq, f"{seq}-0", f"k{seq}") for seq in (1, 2, 9)]


def lost(seq: int, at: float, rule: str = "kafka", effect: str = LOST, room: str = "r") -> Violation:
    """Return what the checker would find."""
    return Violation(rule, effect, room, seq, seq, "", at)


def test_what_was_overtaken_and_sent_before_the_strike_ended_shows_the_mutant() -> None:
    """It was not late."""
    assert HUNT.shown_by(RUN, [lost(3, 12.0)]) == [lost(3, 12.0)]


@pytest.mark.parametrize(
    "found",
    [
        lost(10, 12.0),  # nothing of the room came behind it
        lost(3, 15.1),  # sent when the strike was over
        lost(3, 12.0, room="other"),  # of which nothing came at all
        lost(0, 0.0, room=""),  # of no room
        lost(3, 12.0, rule="unexpected"),
        lost(3, 12.0, effect=DOUBLED),
    ],
)
def test_what_a_run_cut_short_or_something_else_may_have_caused_does_not(found: Violation) -> None:
    """On a busy machine a sound service shows that too."""
    assert HUNT.shown_by(RUN, [found]) == []


def test_what_is_acked_and_not_stored_is_never_late() -> None:
    """Whenever it was acked."""
    hunt = {hunt.mutant: hunt for hunt in HUNTS}["ack_before_append"]
    found = [lost(10, 30.0, rule="history")]
    assert hunt.shown_by(RUN, found) == found
