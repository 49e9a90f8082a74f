"""Whatever order two paths bring a room's bursts in, each member gets every seq once and in order. By Hypothesis."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from comet.room import Room
from common.envelope import Burst
from common.positions import Position
from tests.support.rooms import Recorder, burst, write_out

PATHS = st.sampled_from(["pubsub", "push"])


class RoomMachine(RuleBasedStateMachine):
    """A room against the simplest model: the log as a list of epochs, and where each member came in."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room("room_1")
        self.log: list[int] = []  # the epoch of each message; its seq is its place
        self.bursts: list[Burst] = []
        self.joined_at: dict[Recorder, int] = {}

    @initialize(length=st.integers(0, 5))
    def start(self, length: int) -> None:
        """The room is positioned at the end of its log, with what PubSub brought meanwhile held back."""
        if length:
            self.append(length)
        at = len(self.log)
        self.append(2)
        self.room.offer(self.bursts[-1], "pubsub")
        self.room.start(Position(1 if at else 0, at), self.bursts[:-1])

    def append(self, count: int, *, new_epoch: bool = False) -> None:
        """Append to the log; a path may bring it any time from now on, any number of times, or never."""
        epoch = self.log[-1] if self.log else 1
        self.bursts.append(burst(len(self.log) + 1, count, epoch=epoch + new_epoch))
        self.log += [epoch + new_epoch] * count

    @rule(count=st.integers(1, 4), epoch=st.sampled_from([False] * 5 + [True]))
    def more(self, count: int, *, epoch: bool) -> None:
        """Somebody sends; sometimes Redis restarted before."""
        self.append(count, new_epoch=epoch)

    @rule(choice=st.integers(0, 1000), path=PATHS)
    def bring(self, choice: int, path: str) -> None:
        """A path brings a recent burst, perhaps for the second time."""
        recent = self.bursts[-8:]
        self.room.offer(recent[choice % len(recent)], path)

    @rule(back=st.integers(0, 6), count=st.integers(1, 5), path=PATHS)
    def bring_slice(self, back: int, count: int, path: str) -> None:
        """A merged push brings some other cut of the log, within an epoch."""
        first = max(1, len(self.log) - back)
        epoch = self.log[first - 1]
        fitting = sum(one == epoch for one in self.log[first - 1 : first - 1 + count])
        self.room.offer(burst(first, fitting, epoch=epoch), path)

    @rule()
    def repair(self) -> None:
        """The stream gives all that is missing, as comet/hub.py reads it."""
        while self.room.last < len(self.log):
            first = self.room.last + 1
            epoch = self.log[first - 1]
            if epoch > self.room.epoch:
                self.room.enter_epoch(epoch)
            self.room.offer(burst(first, epoch=epoch), "pubsub")

    @rule()
    def join(self) -> None:
        """Somebody joins at the room's position."""
        member = Recorder()
        self.room.add(member)
        self.joined_at[member] = self.room.last

    @rule(choice=st.integers(0, 1000))
    def join_anew(self, choice: int) -> None:
        """Somebody who is in joins again and gets what he missed another way."""
        members = list(self.joined_at)
        if members:
            self.leave(choice)
            member = members[choice % len(members)]
            member.writes.clear()
            self.room.add(member)
            self.joined_at[member] = self.room.last

    @rule(choice=st.integers(0, 1000))
    def leave(self, choice: int) -> None:
        """Somebody leaves, perhaps with messages waiting."""
        members = list(self.joined_at)
        if members:
            member = members[choice % len(members)]
            self.room.remove(member)
            del self.joined_at[member]

    @rule()
    def flush(self) -> None:
        """The loop comes to the room's flush."""
        write_out(self.room)

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        """Each member saw the seqs behind its joining, once, in order, up to some point."""
        for member, since in self.joined_at.items():
            assert member.seqs == list(range(since + 1, since + 1 + len(member.seqs)))

    def teardown(self) -> None:
        """In the end, with all holes filled, nothing is missing and nothing is kept."""
        if self.bursts:
            self.repair()
            self.flush()
            for member, since in self.joined_at.items():
                assert member.seqs == list(range(since + 1, len(self.log) + 1))
            assert not self.room.held


TestRoom = RoomMachine.TestCase
TestRoom.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
