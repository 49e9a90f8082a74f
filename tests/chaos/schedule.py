"""Which faults come when: a pure function of the seed, so that a run is replayed by its number."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.windows import AFTERMATH_S

PAUSE_S: Final = (0.5, 1.5)  # between two faults: from, to
# After a freeze whoever woke must have stopped doing what others do now: that shows once no fault can be blamed for it.
CALM_AFTER: Final = ("freeze_comet", "freeze_logic")
CALM_S: Final = AFTERMATH_S + 3


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come, after a pause; `seed` is for whatever it chooses by chance."""

    number: int  # from 1
    kind: str
    seed: int
    pause_s: float


def schedule(seed: int, count: int, kinds: Sequence[str]) -> list[Planned]:
    """Return the faults of a run: all kinds before any repeats, in an order of each round's own.

    The order in which `kinds` are given does not matter. A longer run begins as a shorter one of its seed. A freeze is
    followed by calm; of the first round only that of a Comet, as a short run has no more time than for one.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    plan: list[Planned] = []
    order: list[str] = []
    while len(plan) < count:
        if not order:
            order = _round(rng, sorted(kinds), plan[-1].kind if plan else "")
        number, kind, fault_seed = len(plan) + 1, order.pop(0), rng.getrandbits(32)
        pause_s = rng.uniform(*PAUSE_S)
        if plan and _calms(plan[-1], len(kinds)):
            pause_s += CALM_S
        plan.append(Planned(number, kind, fault_seed, round(pause_s, 2)))
    return plan


def _calms(fault: Planned, of_kinds: int) -> bool:
    """Whether calm follows this fault."""
    return fault.kind in CALM_AFTER and (fault.number > of_kinds or fault.kind == CALM_AFTER[0])


def _round(rng: random.Random, kinds: list[str], last: str) -> list[str]:
    """Shuffle all kinds, the last one of the round before not first."""
    rng.shuffle(kinds)
    if kinds[0] == last:
        kinds.append(kinds.pop(0))
    return kinds
