"""The plan of a run follows from its seed alone, and does every kind before any again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import PAUSE_S, schedule

KINDS = [f"kind_{letter}" for letter in "abcdef"]
seeds = st.integers(0, 2**63)


@given(seeds, st.integers(0, 40))
def test_a_seed_gives_the_same_plan_however_the_kinds_are_ordered(seed: int, count: int) -> None:
    """A failing run is replayed by its number."""
    assert schedule(seed, count, KINDS) == schedule(seed, count, KINDS[::-1])


def test_seeds_give_different_plans() -> None:
    """A hundred seeds are a hundred runs."""
    plans = {tuple((one.kind, one.seed) for one in schedule(seed, 12, KINDS)) for seed in range(100)}
    assert len(plans) == 100


@given(seeds, st.integers(0, 40))
def test_all_kinds_come_before_any_repeats(seed: int, count: int) -> None:
    """Each round holds every kind once; the last may be cut short."""
    kinds = [one.kind for one in schedule(seed, count, KINDS)]
    rounds = [kinds[at : at + len(KINDS)] for at in range(0, count, len(KINDS))]
    assert all(sorted(one) == KINDS for one in rounds[:-1])
    assert all(len(set(one)) == len(one) for one in rounds)


@given(seeds)
def test_no_kind_follows_itself(seed: int) -> None:
    """Nor over the seam of two rounds."""
    assert all(one.kind != following.kind for one, following in pairwise(schedule(seed, 60, KINDS)))


@given(seeds, st.integers(0, 40))
def test_a_longer_run_begins_as_a_shorter_one(seed: int, count: int) -> None:
    """So a fault late in a long run is found again by its number."""
    assert schedule(seed, 60, KINDS)[:count] == schedule(seed, count, KINDS)


@given(seeds)
def test_faults_are_numbered_and_pauses_short(seed: int) -> None:
    """From 1, and a run of 100 is over in its time."""
    plan = schedule(seed, 20, KINDS)
    assert [one.number for one in plan] == list(range(1, 21))
    assert all(PAUSE_S[0] <= one.pause_s <= PAUSE_S[1] for one in plan)


def test_a_single_kind_is_repeated() -> None:
    """`--kinds kill_redis` is a run too."""
    assert [one.kind for one in schedule(1, 3, ["kill_redis"])] == ["kill_redis"] * 3
