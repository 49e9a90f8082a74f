"""Services with one promise broken on purpose, so that the checker can show that it would notice: `make chaos-mutants`.

`python -m tests.chaos.mutants <mutant> comet|logic|job [options]` runs the service with the mutant switched on.
Nothing of this is in the services themselves.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from comet import forwarder
from comet.hub import Hub
from comet.join import Join
from comet.leases import Leases
from common import outbox
from common.append_lane import AppendLane
from common.append_script import AppendScript
from common.envelope import User
from common.redis_client import AWAY
from common.store import Store
from job.progress import Progress

# In an append's arguments: 5 keys, 11 values, then the content of each message, then their digest.
CHANNEL_AT: Final = 5
ROOM_AT: Final = 6
USER_AT: Final = 15
CONTENT_AT: Final = 16
DIGEST_AT: Final = -1
LATE_S: Final = 0.03  # at most, for a publish that is a step of its own


def _swap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put in place of `owner.name` what `make` returns, given the original."""
    setattr(owner, name, make(getattr(owner, name)))


def commit_before_push() -> None:
    """Commit what was fetched, pushed or not."""

    def make(advance: Any) -> Any:
        def mutant(self: Progress) -> int:
            advance(self)
            if self.position >= 0:  # else no record came yet
                self.position = max(self.position, self._next)
            return self.position

        return mutant

    _swap(Progress, "advance", make)


def ack_before_append() -> None:
    """Where Redis is away, answer with what the next position will most likely be, and store nothing.

    The answer names the room's last known epoch, the next seqs and ids by the clock, as a true one would.
    """
    ends: dict[str, tuple[int, int]] = {}  # each room's epoch and last seq as they were told last

    def foretold(append: Any) -> list[Any]:
        room, count = append.arguments[ROOM_AT], len(append.arguments[CONTENT_AT:DIGEST_AT])
        epoch, last = ends.get(room, (1, 0))
        ends[room] = (epoch, last + count)
        now_ms = time.time_ns() // 1_000_000
        ids = " ".join(f"{now_ms}-{n}" for n in range(last + 1, last + count + 1))
        return [0, f"{epoch} {last + 1} {ids}".encode(), 1]

    def make(ask: Any) -> Any:
        async def mutant(self: AppendLane, batch: list[Any]) -> list[Any]:
            try:
                answers: list[Any] = await ask(self, batch)
            except AWAY:
                return [foretold(append) for append in batch]
            for append, answer in zip(batch, answers, strict=True):
                if isinstance(answer, list) and not answer[0]:
                    epoch, first, *ids = answer[1].split(b" ")
                    ends[append.arguments[ROOM_AT]] = (int(epoch), int(first) + len(ids) - 1)
            return answers

        return mutant

    _swap(AppendLane, "_ask", make)


def outbox_entry_dropped() -> None:
    """Take an entry that Logic did not answer for as forwarded."""
    _swap(forwarder, "SETTLED", lambda settled: (*settled, "failed", "skipped"))


def hole_not_read() -> None:
    """Wait for what is missing instead of reading it from the stream."""

    async def nothing() -> bool:
        return True

    _swap(Hub, "_start_repair", lambda _: lambda self, _room: self._spawn(nothing()))


def publish_outside_the_script() -> None:
    """Store, and publish in a step of its own."""
    line = "redis.pcall('PUBLISH', ARGV[1], position .. #ids .. '\\n' .. table.concat(messages, ','))"
    publishing: set[asyncio.Task[None]] = set()

    def make_init(init: Any) -> Any:
        def mutant(self: AppendScript, *parts: Any) -> None:
            init(self, *parts)
            assert line in self.text
            self.text = self.text.replace(line, "1")

        return mutant

    async def publish(self: Any, arguments: tuple[Any, ...], ack: str) -> None:
        await asyncio.sleep(random.uniform(0, LATE_S))  # noqa: S311 - as the network would have it
        epoch, first, *ids = ack.split(" ")
        heads = (f'{{"id":"{one}","seq":{seq},"timestamp":{one[:13]},' for seq, one in enumerate(ids, int(first)))
        bodies = (
            b'"content":%b,"user":%b}' % (content, arguments[USER_AT]) for content in arguments[CONTENT_AT:DIGEST_AT]
        )
        messages = b",".join(head.encode() + body for head, body in zip(heads, bodies, strict=True))
        await self._redis.publish(arguments[CHANNEL_AT], f"{epoch} {first} {len(ids)}\n".encode() + messages)

    def make_ask(ask: Any) -> Any:
        async def mutant(self: AppendLane, batch: list[Any]) -> list[Any]:
            answers: list[Any] = await ask(self, batch)
            for append, answer in zip(batch, answers, strict=True):
                if isinstance(answer, list) and not answer[0]:
                    task = asyncio.get_running_loop().create_task(publish(self, append.arguments, answer[1].decode()))
                    publishing.add(task)
                    task.add_done_callback(publishing.discard)
            return answers

        return mutant

    _swap(AppendScript, "__init__", make_init)
    _swap(AppendLane, "_ask", make_ask)


def ref_forgotten() -> None:
    """Take what is sent again for something new."""

    def make(append: Any) -> Any:
        def mutant(self: Store, room: str, user: User, contents: list[str], _ref: Any = None, **options: Any) -> Any:
            return append(self, room, user, contents, None, **options)

        return mutant

    _swap(Store, "append", make)


def stale_forwarder() -> None:
    """Go on forwarding and removing what was ever ours."""
    fence = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end"
    ever: set[int] = set()

    def make_hold(hold: Any) -> Any:
        async def mutant(self: Leases, shards: list[int], ask: Any) -> None:
            await hold(self, shards, ask)
            ever.update(self._until)

        return mutant

    def make_remove(script: str) -> str:
        assert fence in script
        return script.replace(fence, "")

    _swap(Leases, "_hold", make_hold)
    _swap(Leases, "held", lambda _: lambda _self: sorted(ever))
    _swap(outbox, "_REMOVE", make_remove)


def joins_not_held_back() -> None:
    """Let the session in first, and read what it missed while the room's messages reach it already."""

    def make(resume: Any) -> Any:
        async def mutant(self: Any, since: Any) -> None:
            room = await self._hub.enter(self._room_id)
            try:
                self._let_in(room)
                self._let_in = lambda _room: None
                await self._hub.store.read(room.id, 0, 1)  # whatever the room's ring covers
                await resume(self, since)
            finally:
                self._hub.exit(room)

        return mutant

    _swap(Join, "resume", make)


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    mutant.__name__: mutant
    for mutant in (
        commit_before_push,
        ack_before_append,
        outbox_entry_dropped,
        hole_not_read,
        publish_outside_the_script,
        ref_forgotten,
        stale_forwarder,
        joins_not_held_back,
    )
}

if __name__ == "__main__":
    _, name, service, *options = sys.argv
    MUTANTS[name]()
    sys.exit(import_module(f"{service}.app").main(options))
