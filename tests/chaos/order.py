"""Where a list of seqs departs from counting up without holes. Pure; the rules say what that means where."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tests.chaos.verdict import DOUBLED, LOST, REORDERED


class Slip(NamedTuple):
    """One departure: a seq that came twice or late, or some (`seq` to `until`) that never came."""

    effect: str
    nth: int  # in the list, from 0: of those that came; of lost ones that of the next in seq, the list's length if none
    seq: int
    until: int


def slips(seqs: Sequence[int], first: int | None = None, last: int | None = None) -> Iterator[Slip]:
    """Judge seqs that should run from `first` to `last` (None: from or to whichever they do)."""
    if not seqs and (first is None or last is None):
        return
    begin = seqs[0] if first is None else first
    if list(seqs) == list(range(begin, begin + len(seqs))) and last in (None, begin + len(seqs) - 1):
        return
    where: dict[int, int] = {}
    yield from _out_of_turn(seqs, begin, where, known_begin=first is not None)
    yield from _missing(where, begin, last, len(seqs))


def _out_of_turn(seqs: Sequence[int], begin: int, where: dict[int, int], *, known_begin: bool) -> Iterator[Slip]:
    """Tell which came again (what lies before a known beginning came before) or late; fill in where each stands."""
    highest = begin - 1
    for index, seq in enumerate(seqs):
        if seq in where or (known_begin and seq < begin):
            yield Slip(DOUBLED, index, seq, seq)
        elif seq < highest:
            yield Slip(REORDERED, index, seq, seq)
        where.setdefault(seq, index)
        highest = max(highest, seq)


def _missing(where: dict[int, int], begin: int, last: int | None, length: int) -> Iterator[Slip]:
    came = sorted(seq for seq in where if seq >= begin)
    for before, after in pairwise([begin - 1, *came]):
        if after > before + 1:
            yield Slip(LOST, where[after], before + 1, after - 1)
    end = came[-1] if came else begin - 1
    if last is not None and end < last:
        yield Slip(LOST, length, end + 1, last)
