"""Seqs that count up without holes, and every way in which they don't; faults that are to blame."""

import pytest

from tests.chaos.evidence import Struck
from tests.chaos.order import slips
from tests.chaos.verdict import CALM, DOUBLED, LOST, REORDERED
from tests.chaos.windows import AFTERMATH_S, Windows


@pytest.mark.parametrize(
    ("seqs", "first", "last", "found"),
    [
        ([], None, None, []),
        ([], 1, 0, []),
        ([3, 4, 5], None, None, []),
        ([1, 2, 3], 1, 3, []),
        ([], 1, 3, [(LOST, 0, 1, 3)]),
        ([2, 3], 1, None, [(LOST, 0, 1, 1)]),
        ([1, 2], 1, 4, [(LOST, 2, 3, 4)]),
        ([1, 5], 1, None, [(LOST, 1, 2, 4)]),
        ([1, 2, 2, 3], 1, 3, [(DOUBLED, 2, 2, 2)]),
        ([1, 3, 2, 4], 1, 4, [(REORDERED, 2, 2, 2)]),
        ([2, 1, 3], None, None, [(REORDERED, 1, 1, 1)]),
        ([4, 5, 6], 5, 6, [(DOUBLED, 0, 4, 4)]),
        ([1, 4, 2, 4], 1, 5, [(REORDERED, 2, 2, 2), (DOUBLED, 3, 4, 4), (LOST, 1, 3, 3), (LOST, 4, 5, 5)]),
    ],
)
def test_slips(seqs: list[int], first: int | None, last: int | None, found: list[tuple[str, int, int, int]]) -> None:
    """Each is named once; what came late is not lost."""
    assert [tuple(slip) for slip in slips(seqs, first, last)] == found


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (9.9, CALM),
        (10.0, "a"),
        (14.0 + AFTERMATH_S, "a"),
        (14.1 + AFTERMATH_S, CALM),
        (45.0, "c"),  # b's aftermath as well
    ],
)
def test_blame(at: float, kind: str) -> None:
    """The latest fault that covers the moment, with its aftermath."""
    faults = [Struck(2, "c", 44, 46, ""), Struck(0, "a", 10, 14, ""), Struck(1, "b", 38, 42.5, "")]
    assert Windows(faults).blame(at) == kind
