"""The plan of a run follows from its seed alone, and does every kind before any again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.run import CALM_S as CALM_AT_THE_END_S
from tests.chaos.run import replay
from tests.chaos.schedule import CALM_S, PAUSE_S, schedule
from tests.chaos.windows import AFTERMATH_S

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


FREEZES = ["freeze_comet", "freeze_logic", "freeze_redis", "kill_comet"]


@given(seeds)
def test_a_comets_or_logics_freeze_is_followed_by_calm(seed: int) -> None:
    """Past what the freeze excuses; in the first round only a Comet's, so that a short run is short."""
    for fault, following in pairwise(schedule(seed, 20, FREEZES)):
        first_round = fault.number <= len(FREEZES)
        calm = fault.kind == "freeze_comet" or (fault.kind == "freeze_logic" and not first_round)
        assert (following.pause_s > CALM_S) == calm
        assert (following.pause_s <= PAUSE_S[1]) != calm


def test_calm_lasts_longer_than_what_a_fault_excuses() -> None:
    """Else nothing was ever judged as done in calm; at the end too."""
    assert CALM_S > AFTERMATH_S + 2
    assert CALM_AT_THE_END_S > AFTERMATH_S + 2


def test_the_command_that_replays_a_run_says_all_that_shapes_its_plan() -> None:
    """Kinds as they were chosen, the rate, the numbers."""
    assert replay(7, 14, 0, 250.0, ()) == 'make chaos ARGS="--seed 7 --faults 14 --messages 0 --rate 250"'
    command = replay(7, 3, 100, 99.5, ("kill_redis", "cut_redis"))
    assert command.endswith('--messages 100 --rate 99.5 --kind kill_redis --kind cut_redis"')
