"""What the checker finds: violations, each with the fault it is blamed on, and figures for each kind of fault."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

CALM = "(calm)"  # the kind of what no fault can be blamed for

# What became of a message that did not go the promised way.
LOST, DOUBLED, REORDERED, TOLD, WRONG = "lost", "doubled", "reordered", "told", "wrong"


class Violation(NamedTuple):
    """A broken promise. It concerns `seq` to `until` of the room; the room is "" if it concerns no message."""

    rule: str
    effect: str
    room: str
    seq: int
    until: int
    text: str
    at: float  # seconds since the epoch; 0 if it is about the whole run
    kind: str = CALM  # of the fault that it is blamed on

    @property
    def messages(self) -> Iterable[tuple[str, int]]:
        """The messages concerned: what several rules complain of counts once."""
        return ((self.room, seq) for seq in range(self.seq, self.until + 1))


@dataclass
class Row:
    """What happened under one kind of fault, from its beginning until a while after its end."""

    kind: str
    faults: int = 0
    acked: int = 0
    lost: int = 0  # messages, as all below but for `told`
    doubled: int = 0
    reordered: int = 0
    wrong: int = 0  # another id, content, place or partition than it should have, or no message at all
    told: int = 0  # holes that clients were told of
    longest_gap_s: float = 0.0  # from a message's append until the last client that was connected all the time had it


@dataclass
class Verdict:
    """All of it."""

    violations: list[Violation] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)  # by kind in alphabetical order, the calm last
    total: Row = field(default_factory=lambda: Row("all"))

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations
