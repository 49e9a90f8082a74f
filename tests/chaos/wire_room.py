"""One room on one connection, as the protocol has it: what may come of it, and what not. Pure.

A request takes effect at the server when it gets there, so what was on its way until its answer may still come. Answers
come in the order of the requests. Neighbour: ledger.py, which brings the frames and notes what is broken.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

Payload = dict[str, Any]


class Asked(NamedTuple):
    """A request without an answer."""

    kind: Literal["join", "leave"]
    since: tuple[int, int] | None = None  # of a join: epoch and seq


class WireRoom:
    """A room from the connection's beginning to its end."""

    def __init__(self) -> None:
        self.inside = False  # as of the last answer: the server may send messages of it
        self.pending: deque[Asked] = deque()

    @property
    def settled(self) -> bool:
        """Whether the client is in the room and has asked for nothing else since: it takes what comes."""
        return self.inside and not self.pending

    def asks(self, asked: Asked) -> None:
        """Send a request."""
        self.pending.append(asked)

    def left(self) -> bool:
        """Take a `left`; return whether it answers a request."""
        answers = bool(self.pending) and self.pending[0].kind == "leave"
        if answers:
            self.pending.popleft()
        self.inside = False
        return answers

    def refused(self, *, kept: bool) -> None:
        """Take the error that answers a join; `kept`: the server did not even try, and left all as it was."""
        if self.pending and self.pending[0].kind == "join":
            self.pending.popleft()
        self.inside = self.inside and kept

    def joined(self) -> Asked | None:
        """Take a `joined`; return the request that it answers."""
        asked = self.pending.popleft() if self.pending and self.pending[0].kind == "join" else None
        self.inside = self.inside or asked is not None
        return asked


def faults_of_joined(payload: Payload, asked: Asked | None, *, inside: bool) -> Iterator[str]:
    """Tell what is wrong with a `joined` that answers the request, or none; `inside`: the room was joined before."""
    seqs, seq, recovered = [one["seq"] for one in payload["messages"]], payload["seq"], payload["recovered"]
    if asked is None and (recovered or not inside):
        yield "nobody asked for it"
    if asked is not None and asked.since is None and not recovered:
        yield "a client without a position was told of a hole"
    if not consecutive(seqs):
        yield "its messages are not consecutive"
    if seqs and seqs[-1] != seq:
        yield f"its messages do not end at its seq, {seq}"
    if asked is not None and asked.since is not None:
        epoch, since = asked.since
        if (payload["epoch"], seq) < asked.since:
            yield f"the position ran backwards from seq {since} of epoch {epoch}"
        if recovered and seqs != list(range(since + 1, seq + 1)):
            yield f"recovered from {since}, but its messages are not {since + 1} to {seq}"


def consecutive(seqs: Sequence[int]) -> bool:
    """Whether seqs count up without a hole."""
    return not seqs or list(seqs) == list(range(seqs[0], seqs[0] + len(seqs)))
