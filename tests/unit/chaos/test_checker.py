"""The checker: sound evidence passes, and whatever breaks it in one way is found by the right rule."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.checker import check
from tests.chaos.evidence import Broken, Evidence, Produced, Told
from tests.chaos.verdict import CALM, DOUBLED, LOST, REORDERED, TOLD, WRONG, Verdict
from tests.unit.chaos.sound import BEGAN, ROOMS, sound, strike, with_faults

ROOM = ROOMS[0]


def rules(verdict: Verdict) -> set[str]:
    """Return which rules were broken."""
    return {one.rule for one in verdict.violations}


def effects(verdict: Verdict, rule: str) -> set[str]:
    """Return how a rule was broken."""
    return {one.effect for one in verdict.violations if one.rule == rule}


def test_a_sound_run_has_no_violation() -> None:
    """Though it has epochs, pieces of PubSub, clients who left, and broadcasts pushed twice."""
    verdict = check(sound())
    assert verdict.sound
    assert not verdict.violations
    assert (verdict.total.acked, verdict.total.lost, verdict.total.doubled) == (24, 0, 0)


def test_an_empty_run_proves_nothing() -> None:
    """A harness that measures nothing must not pass."""
    verdict = check(Evidence(BEGAN, BEGAN + 1))
    assert not verdict.sound
    assert rules(verdict) == {"evidence"}


# -- each rule, broken in each way -----------------------------------------------------------------------------------

Break = Callable[[Evidence], object]


def _rehang(run: Evidence, **changed: Any) -> None:
    """Change the history's third message."""
    run.stored[ROOM][2] = run.stored[ROOM][2]._replace(**changed)


def _again(run: Evidence) -> None:
    """Store the third message once more at the end, as a forgotten ref does."""
    last = run.stored[ROOM][-1]
    again = last._replace(seq=last.seq + 1, id=f"{int(last.id.partition('-')[0]) + 5}-0", key=run.stored[ROOM][2].key)
    run.stored[ROOM].append(again)


def _all_left(run: Evidence) -> None:
    for view in run.views:
        view.whole = False


BREAKS: dict[str, tuple[str, str, Break]] = {
    "an acked message is not stored": ("history", LOST, lambda run: run.stored[ROOM].pop()),
    "a stored message is gone from the middle": ("history", LOST, lambda run: run.stored[ROOM].pop(4)),
    "a message is stored twice": ("history", DOUBLED, _again),
    "an entry is there twice": ("history", DOUBLED, lambda run: run.stored[ROOM].insert(3, run.stored[ROOM][3])),
    "an ack named another id": ("history", WRONG, lambda run: _rehang(run, id="1800000000021-0")),
    "an ack named another epoch": ("history", WRONG, lambda run: _rehang(run, epoch=1_700_000_000_000 - 1)),
    "an epoch falls": ("history", REORDERED, lambda run: _rehang(run, epoch=1_700_000_000_009)),
    "an id falls": ("history", REORDERED, lambda run: _rehang(run, id="1800000009999-0")),
    "a message was acked at two places": (
        "history",
        DOUBLED,
        lambda run: run.acked.append(run.acked[0]._replace(seq=9, id="1800000000999-0")),
    ),
    "a message never came to Kafka": ("kafka", LOST, lambda run: run.produced.pop(3)),
    "Kafka has another content": ("kafka", WRONG, lambda run: _set(run.produced, 3, key="other")),
    "Kafka has another epoch": ("kafka", WRONG, lambda run: _set(run.produced, 3, epoch=7)),
    "Kafka has what nobody stored": ("kafka", WRONG, lambda run: run.produced.append(_foreign(run))),
    "a room is in two partitions": ("kafka", WRONG, lambda run: _set(run.produced, 3, partition=3)),
    "a message was produced twice in calm": ("calm_repeats", DOUBLED, lambda run: run.produced.append(run.produced[3])),
    "a publication is missing": ("pubsub", LOST, lambda run: run.published.pop(4)),
    "the first publication is missing": ("pubsub", LOST, lambda run: run.published.pop(0)),
    "the last publication is missing": ("pubsub", LOST, lambda run: run.published.pop()),
    "something was published twice": ("pubsub", DOUBLED, lambda run: run.published.insert(5, run.published[3])),
    "something was published and not stored": (
        "pubsub",
        WRONG,
        lambda run: _set(run.published, 4, id="1800000000999-0"),
    ),
    "a message was never pushed": ("push", LOST, lambda run: run.pushed.pop(3)),
    "a push had another position": ("push", WRONG, lambda run: _set(run.pushed, 3, seq=99)),
    "a broadcast was never pushed": ("push", LOST, lambda run: run.broadcast_pushed.remove("b2")),
    "a client missed a message": ("view", LOST, lambda run: run.views[0].seen.pop(3)),
    "a client missed the first message": ("view", LOST, lambda run: run.views[0].seen.pop(0)),
    "a client missed the last message": ("view", LOST, lambda run: run.views[0].seen.pop()),
    "a client that stayed saw nothing": ("view", LOST, lambda run: run.views[0].seen.clear()),
    "a client saw a message twice": ("view", DOUBLED, lambda run: run.views[0].seen.insert(5, run.views[0].seen[3])),
    "a client saw what was before its join": (
        "view",
        DOUBLED,
        lambda run: run.views[-2].seen.insert(0, run.views[0].seen[1]),
    ),
    "a client saw another content": ("view", WRONG, lambda run: _set(run.views[0].seen, 3, key="other")),
    "a client saw another epoch": ("view", WRONG, lambda run: _set(run.views[0].seen, 3, epoch=7)),
    "a client saw epochs fall": ("view", REORDERED, lambda run: _set(run.views[0].seen, 3, epoch=9_700_000_000_000)),
    "a client saw what nobody stored": ("view", WRONG, lambda run: run.views[0].seen.append(_unstored(run))),
    "a client was told of a hole": ("told", TOLD, lambda run: run.views[0].told.append(Told(BEGAN, 3))),
    "a join showed what nobody stored": ("view", WRONG, lambda run: run.views[0].shown.append(_unstored(run))),
    "a frame came that must not": ("protocol", WRONG, lambda run: run.protocol.append(Broken(BEGAN, "c0: an ack"))),
    "a fault fell under too little load": ("evidence", WRONG, lambda run: _idle(run).offered.__delitem__(slice(201))),
    "nobody joined under a fault": ("evidence", WRONG, lambda run: _idle(run).joining.clear()),
    "there is a dead letter": ("dead_letters", WRONG, lambda run: setattr(run, "dead_letters", 1)),
    "a service ended by itself": ("unexpected", WRONG, lambda run: run.unexpected.append("comet-1 ended with 1")),
    "nobody stayed to the end": ("evidence", WRONG, _all_left),
    "nothing was acked": ("evidence", WRONG, lambda run: run.acked.clear()),
}


def _idle(run: Evidence) -> Evidence:
    """Return the run with a fault of 4 s, under which 800 messages are offered: 600 would be enough."""
    return with_faults(run, ["kill_redis"])


def _set(those: list[Any], nth: int, **changed: Any) -> None:
    those[nth] = those[nth]._replace(**changed)


def _foreign(run: Evidence) -> Produced:
    return run.produced[-1]._replace(id="1800000000999-0", key="foreign")


def _unstored(run: Evidence) -> Any:
    last = run.views[0].seen[-1]
    return last._replace(seq=last.seq + 1, id="1800000000999-0", key="unstored")


@pytest.mark.parametrize("what", BREAKS)
def test_each_way_to_break_a_promise_is_found_by_its_rule(what: str) -> None:
    """With the right effect."""
    rule, effect, breaks = BREAKS[what]
    run = sound()
    breaks(run)
    assert effect in effects(check(run), rule)


# -- any single element ----------------------------------------------------------------------------------------------

LISTS: dict[str, Callable[[Evidence], list[Any]]] = {
    "history": lambda run: run.stored[ROOM],
    "kafka": lambda run: [one for one in run.produced if one.room == ROOM],
    "pubsub": lambda run: [one for one in run.published if one.room == ROOM],
    "push": lambda run: [one for one in run.pushed if one.room == ROOM],
    "view": lambda run: run.views[0].seen,
}


def _replaced(run: Evidence, rule: str, those: list[Any]) -> Verdict:
    """Check the run with one room's list replaced by another."""
    match rule:
        case "history":
            run.stored[ROOM] = those
        case "kafka":
            run.produced = [*those, *(one for one in run.produced if one.room != ROOM)]
        case "pubsub":
            run.published = [*those, *(one for one in run.published if one.room != ROOM)]
        case "push":
            run.pushed = [*those, *(one for one in run.pushed if one.room != ROOM)]
        case _:
            run.views[0].seen = those
    return check(run)


counts = st.integers(8, 30)
any_list = st.sampled_from(sorted(LISTS))


@given(any_list, counts, st.data())
def test_any_dropped_element_is_found(rule: str, count: int, data: st.DataObject) -> None:
    """The rule of its list says that it is lost, and counts it once, whoever else misses it."""
    run = sound(count)
    those = LISTS[rule](run)
    gone = those[data.draw(st.integers(0, len(those) - 1))]
    # Between two connections of the tap PubSub may have lost something.
    border = rule == "pubsub" and gone.seq in (6, 7)
    verdict = _replaced(run, rule, [one for one in those if one is not gone])
    assert border or LOST in effects(verdict, rule)
    assert verdict.total.lost == (0 if border else 1)


@given(any_list, counts, st.data())
def test_any_doubled_element_is_found(rule: str, count: int, data: st.DataObject) -> None:
    """But where a repeat is harmless: at the end of the asynchronous path, Comet drops it."""
    run = sound(count)
    those = LISTS[rule](run)
    nth = data.draw(st.integers(0, len(those) - 1))
    at = data.draw(st.integers(nth + 1, len(those)))
    verdict = _replaced(run, rule, [*those[:at], those[nth], *those[at:]])
    judge = {"kafka": "calm_repeats"}.get(rule, rule)
    assert verdict.sound if rule == "push" else DOUBLED in effects(verdict, judge) | _late(verdict, rule)


def _late(verdict: Verdict, rule: str) -> set[str]:
    """Return DOUBLED where a repeat crossed into the tap's next connection, in which it is merely out of order."""
    return {DOUBLED} if rule == "pubsub" and effects(verdict, rule) & {LOST, REORDERED} else set()


@given(any_list, counts, st.data())
def test_any_two_swapped_elements_are_found(rule: str, count: int, data: st.DataObject) -> None:
    """However far apart; nothing of them is lost."""
    run = sound(count)
    those = list(LISTS[rule](run))
    i, j = sorted(data.draw(st.lists(st.integers(0, len(those) - 1), min_size=2, max_size=2, unique=True)))
    # The last of one connection of the tap and the first of the next: each still stands where it should in its own.
    border = rule == "pubsub" and (those[i].seq, those[j].seq) == (6, 7)
    those[i], those[j] = those[j], those[i]
    assert border or REORDERED in effects(_replaced(run, rule, those), rule)


def test_what_was_appended_before_a_client_joined_is_no_gap_to_it() -> None:
    """It is shown as history; nobody waited for it."""
    run = sound()
    _set(run.views[0].seen, 0, at=BEGAN + 22)
    assert check(run).total.longest_gap_s > 20
    run.views[0].joined_at = BEGAN + 21
    assert check(run).total.longest_gap_s < 1


# -- told holes, faults, figures -------------------------------------------------------------------------------------


def test_a_told_hole_excuses_a_gap_and_only_it() -> None:
    """The client was told, so it lost nothing silently; what it was told is counted by itself."""
    run = sound()
    del run.views[0].seen[3:6]
    run.views[0].told.append(Told(BEGAN, 3))
    assert rules(check(run)) == {"told"}
    del run.views[0].seen[6]
    assert rules(check(run)) == {"told", "view"}


def test_what_was_stored_and_never_acked_is_fine() -> None:
    """Its sender died before the ack; but it has to reach Kafka and the clients as any other."""
    run = sound()
    run.acked = run.acked[2:]
    assert check(run).sound
    run.produced.pop(0)
    assert rules(check(run)) == {"kafka"}


def test_repeats_in_kafka_are_excused_by_a_fault_and_its_aftermath() -> None:
    """And not by a fault that is long over."""
    run = sound()
    run.produced.append(run.produced[3]._replace(offset=99, at=BEGAN + 12))
    strike(run, "kill_comet", 3.0, 2.0)
    assert check(run).sound
    run.faults[0] = run.faults[0]._replace(ended=BEGAN + 3.9)
    assert rules(check(run)) == {"calm_repeats"}


def test_violations_are_blamed_on_the_fault_they_fell_into() -> None:
    """The later one where two cover the moment, and none where none does."""
    run = with_faults(sound(), ["kill_redis", "freeze_job"], length_s=4.0, pause_s=2.0)  # at 2 to 6 and 8 to 12 s
    for at in (1.0, 3.0, 7.0, 9.0, 30.0):
        run.views[0].told.append(Told(BEGAN + at, 12))
    kinds = [one.kind for one in check(run).violations]
    assert kinds == [CALM, "kill_redis", "kill_redis", "freeze_job", CALM]


def test_each_kind_of_fault_has_its_figures() -> None:
    """Acks by their moment, the longest gap by when it was, and the calm for the rest."""
    run = with_faults(sound(), ["kill_redis", "freeze_job"], length_s=4.0, pause_s=20.0)  # at 20 and 44 s
    _set(run.views[0].seen, -1, at=BEGAN + 22)  # a gap of almost 22 s, 2 s of which in the fault
    _set(run.acked, 0, at=BEGAN + 46)
    verdict = check(run)
    rows = {row.kind: row for row in verdict.rows}
    assert list(rows) == ["freeze_job", "kill_redis", CALM]
    assert [rows[kind].acked for kind in rows] == [1, 0, 23]
    assert rows["kill_redis"].longest_gap_s == verdict.total.longest_gap_s == pytest.approx(21.78, abs=0.1)
    assert rows[CALM].longest_gap_s == pytest.approx(0.003, abs=0.001)


def test_a_message_that_all_miss_counts_once() -> None:
    """History, Kafka, the tap and three clients complain of one lost message."""
    run = sound()
    run.stored[ROOM].pop(4)
    run.produced.pop(4)
    run.pushed = [one for one in run.pushed if (one.room, one.seq) != (ROOM, 5)]
    verdict = check(run)
    assert len(verdict.violations) > 3
    assert verdict.total.lost == 1
