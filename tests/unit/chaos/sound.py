"""Evidence of a run in which every promise was kept, to be broken in one way at a time."""

import random

from tests.chaos.evidence import Acked, Evidence, Produced, Published, Pushed, Seen, Span, Stored, Struck, View

BEGAN = 1_800_000_000.0
TICK_S = 0.01
NEW_EPOCH_AT = 0.5  # of a room's messages: Redis started again
ROOMS = ("room_a", "room_b")
CLIENTS = ("c0", "c1", "c2")


def sound(count: int = 12, rooms: tuple[str, ...] = ROOMS) -> Evidence:
    """Return a sound run of `count` messages a room, one each TICK_S, without a fault."""
    run = Evidence(BEGAN, BEGAN + count * TICK_S * len(rooms) + 1)
    for nth in range(count):
        for number, room in enumerate(rooms):
            _add(run, room, number, Stored(nth + 1, _epoch(nth, count), _id(nth, number, rooms), f"{room}-{nth}"))
    run.views = [_view(run, client, room) for room in rooms for client in CLIENTS]
    run.views.append(View("guest", rooms[0], _epoch(0, count), 2, _seen(run, rooms[0])[2:5]))  # it left
    run.views.append(View("late", rooms[0], _epoch(count, count), count, whole=True))  # nothing came any more
    run.broadcast_acked, run.broadcast_pushed = ["b1", "b2"], ["b1", "b1", "b2"]
    run.produced.sort(key=lambda one: (one.partition, one.offset))
    return run


def with_faults(run: Evidence, kinds: list[str], length_s: float = 4.0, pause_s: float = 6.0) -> Evidence:
    """Add one fault of each kind, one after another, under load."""
    for number, kind in enumerate(kinds):
        strike(run, kind, pause_s + number * (length_s + pause_s), length_s)
    return run


def strike(run: Evidence, kind: str, begins_s: float, length_s: float = 4.0) -> None:
    """Add a fault that begins so long after the run did, with 200 offered messages a second and a join."""
    began = run.began + begins_s
    run.faults.append(Struck(len(run.faults), kind, began, began + length_s, f"{kind}, for the test"))
    run.offered += [began + nth / 200 for nth in range(round(length_s * 200))]
    run.joining.append(Span(began + 0.1, began + 0.2))


def busy(seconds: int, kinds: list[str], rng: random.Random) -> Evidence:
    """Return what looks like a run of about 220 messages a second, nobody acked during a fault: for pictures."""
    run = with_faults(Evidence(BEGAN, BEGAN + seconds), kinds, pause_s=(seconds - 8) / len(kinds) - 4)
    seen: list[Seen] = []
    for nth in range(seconds * 220):
        at = BEGAN + nth / 220 + rng.gauss(0, 0.4)
        hurt = next((fault for fault in run.faults if fault.began < at < fault.ended), None)
        if hurt is not None and hurt.number % 2:
            at = hurt.ended + rng.random()
        run.acked.append(Acked(f"k{nth}", "room", 1, nth + 1, _stamp(at), at))
        seen += [Seen(1, nth + 1, _stamp(at), f"k{nth}", at + rng.random() / 10)] * 8
    run.views = [View("c", "room", 1, 0, seen, whole=True)]
    return run


def _epoch(nth: int, count: int) -> int:
    return 1_700_000_000_000 + (nth >= count * NEW_EPOCH_AT)


def _id(nth: int, number: int, rooms: tuple[str, ...]) -> str:
    return _stamp(BEGAN + (nth * len(rooms) + number) * TICK_S)


def _stamp(at: float) -> str:
    return f"{round(at * 1000)}-0"


def _add(run: Evidence, room: str, number: int, one: Stored) -> None:
    """Let a message take all paths."""
    at = int(one.id.partition("-")[0]) / 1000 + 0.002
    place = (one.epoch, one.seq, one.id)
    run.stored.setdefault(room, []).append(one)
    run.acked.append(Acked(one.key, room, *place, at))
    run.published.append(Published(0 if one.seq <= 6 else 1, room, *place))
    run.produced.append(Produced(number, one.seq, at, room, *place, one.key))
    run.pushed.append(Pushed(at, room, *place))


def _seen(run: Evidence, room: str) -> list[Seen]:
    return [
        Seen(one.epoch, one.seq, one.id, one.key, int(one.id.partition("-")[0]) / 1000 + 0.003)
        for one in run.stored[room]
    ]


def _view(run: Evidence, client: str, room: str) -> View:
    return View(client, room, 0, 0, _seen(run, room), whole=True)
