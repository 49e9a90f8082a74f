"""Hop 5 of 9: the forwarder; from common/outbox.py, to Logic's POST /logic/send/batch (logic/api.py).

Drains the outboxes of the shards whose lease this node holds: reads from the head, posts one batch, removes what was
answered, begins again. It stands in nobody's way: a client's ack never waits for it. What Logic did not take stays at
the head, so a room's messages reach Kafka in order and at least once.

Its queue is the outbox, bounded by Redis's memory. When Logic dies now: the batch stays and is posted again, with
backoff. When an entry comes twice (the answer was lost): Kafka has it twice, under one id, and Job's second push is a
repeat to Comet. When an entry is what no append wrote, or Logic refuses it: it goes to the dead letters with the
reason, and what is behind it goes on. When the node was stopped past its leases: it posts nothing more of their shards;
what was on its way may arrive, but removes nothing, and whoever took over began with the same entries.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter

from comet import metrics
from comet.leases import Leases
from common import logs
from common.backoff import Backoff
from common.errors import reason_of
from common.health import Health
from common.masking import mask
from common.outbox import Outbox, Waiting
from common.redis_client import REDIS_FAULTS

ENTRIES: Final = 128  # of one shard in a batch
BATCH_BYTES: Final = 1_000_000  # about the most in one POST
BLOCK_MS: Final = 500
MEASURE_S: Final = 1.0
# Between the starts of two POSTs: each costs Comet, Logic, Kafka and Job some 2 ms of CPU, however little it carries.
PACE_PER_ENTRY_S: Final = 0.0005
LONGEST_PACE_S: Final = 0.01
# What was read just now is on its way to the room's members as well, and they come first.
YIELD_S: Final = 0.002
SETTLED: Final = ("success", "rejected")
OK: Final = 200
REASON_BYTES: Final = 300  # of an error's body are kept as the reason

log = logs.get(name="logic_forward")


class Forwarder:
    """Forwards what is accepted to Logic."""

    def __init__(self, outbox: Outbox, leases: Leases, logic_url: str, timeout_s: float, health: Health) -> None:
        self._health = health  # chat goes on without Logic, so its absence is a warning and no reason
        self._outbox = outbox
        self._leases = leases
        self._url = f"{logic_url.rstrip('/')}/logic/send/batch"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._most = ENTRIES  # entries of a shard in a batch; fewer, and of all shards, while Logic refuses it whole
        self._turn = 0  # which shard comes first
        self._reading = ENTRIES  # entries of a shard that are read at once; fewer where they are large
        self._draining = asyncio.Event()
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Forward until drained."""
        backoff = Backoff(first_s=0.05, cap_s=2.0)
        async with aiohttp.ClientSession(timeout=self._timeout) as http:
            while not self._draining.is_set():
                try:
                    shards = self._leases.held()
                    if not shards:
                        await self._wait_for_leases()
                    elif await self._round(http, shards):
                        backoff.reset()
                    else:
                        await backoff.wait()
                except REDIS_FAULTS as e:
                    log.warning("The outbox could not be read", error=reason_of(e))
                    self._reading = max(1, self._reading // 2)  # perhaps it was too much for one answer
                    await backoff.wait()
        self._done.set()

    async def drain(self) -> None:
        """Finish the batch in flight and stop; the rest is another node's, or waits for the next start."""
        self._draining.set()
        await self._done.wait()

    async def measure(self) -> None:
        """Keep the outbox's metrics up to date, forever."""
        while True:
            try:
                length, age_s = await self._outbox.backlog()
                metrics.OUTBOX_LENGTH.set(length)
                metrics.OUTBOX_AGE_SECONDS.set(age_s)
            except REDIS_FAULTS as e:
                log.warning("The outbox could not be measured", error=reason_of(e))
            await asyncio.sleep(MEASURE_S)

    async def _wait_for_leases(self) -> None:
        self._leases.gained.clear()
        try:
            async with asyncio.timeout(BLOCK_MS / 1000):
                await self._leases.gained.wait()
        except TimeoutError:
            pass

    async def _round(self, http: aiohttp.ClientSession, shards: list[int]) -> bool:
        """Forward one batch; whether all of it was settled."""
        self._turn = (self._turn + 1) % len(shards)
        waiting = await self._outbox.read_heads(
            shards[self._turn :] + shards[: self._turn], min(self._most, self._reading), BLOCK_MS
        )
        if waiting:
            await asyncio.sleep(YIELD_S)
        self._reading = _fewer_or_more(self._reading, waiting)
        held = set(self._leases.held())  # reading may have taken longer than a lease lives
        batch = _fit([entry for entry in waiting if entry.shard in held])
        if self._most < ENTRIES:
            batch = batch[: self._most]
        started = time.monotonic()
        with self._leases.using({entry.shard for entry in batch}):
            settled = await self._forward(http, batch)
        if (pause_s := started + min(LONGEST_PACE_S, PACE_PER_ENTRY_S * len(batch)) - time.monotonic()) > 0:
            await asyncio.sleep(pause_s)
        return settled

    async def _forward(self, http: aiohttp.ClientSession, batch: list[Waiting]) -> bool:
        faults = [_fault_of(entry) for entry in batch]
        good = [entry for entry, fault in zip(batch, faults, strict=True) if not fault]
        outcomes = iter(await self._post(http, good))
        return await self._settle(batch, [("rejected", fault) if fault else next(outcomes) for fault in faults])

    async def _post(self, http: aiohttp.ClientSession, batch: list[Waiting]) -> list[tuple[str, str]]:
        """Post the batch and return (status, reason) for each entry."""
        if not batch:
            return []
        log.info("Async request to Logic service initiated", messages=_messages(batch))
        shards = {entry.shard for entry in batch}
        body = _Fenced(_body(batch), lambda: shards <= set(self._leases.held()))
        begun = time.monotonic()
        try:
            async with http.post(self._url, data=body, headers=_HEADERS) as response:
                text = await response.read()
                outcomes = _outcomes(text, len(batch)) if response.status == OK else []
            self._health.warnings.pop("logic", None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
            if not body.held_back:
                self._health.warnings["logic"] = f"Logic does not answer at {mask(self._url)}: {reason_of(e)}"
            return [("failed", f"{type(e).__name__}: {mask(str(e))}")] * len(batch)
        finally:
            metrics.FORWARD_SECONDS.observe(time.monotonic() - begun)
        if response.status == OK:
            self._most = min(ENTRIES, self._most * 2)
            return outcomes
        return self._refused(batch, response.status, text[:REASON_BYTES].decode(errors="replace"))

    def _refused(self, batch: list[Waiting], status: int, why: str) -> list[tuple[str, str]]:
        """Deal with an answer to the batch as a whole."""
        reason = f"HTTP {status}: {why}"
        if status in (400, 413) and len(batch) == 1:
            return [("rejected", reason)]
        if status in (400, 413):
            self._most = max(1, self._most // 2)  # smaller batches, until the culprit stands alone
        return [("failed", reason)] * len(batch)

    async def _settle(self, batch: list[Waiting], outcomes: list[tuple[str, str]]) -> bool:
        """Count and remove what was answered for good."""
        settled: dict[int, list[tuple[bytes, str]]] = {}
        for entry, (status, reason) in zip(batch, outcomes, strict=True):
            room = entry.room.decode(errors="replace")
            if status == "success":
                metrics.FORWARD_OK.inc(entry.count)
                log.info("Successfully sent message to Logic service for room %s", room, room=room)
            else:
                metrics.FORWARD_FAILED.inc(entry.count)
                log.warning("Message could not be sent to Logic service", room=room, reason=reason)
            if status in SETTLED:
                dead = (reason or "Logic gave no reason") if status == "rejected" else ""
                settled.setdefault(entry.shard, []).append((entry.entry_id, dead))
        metrics.FORWARD_DEAD.inc(sum(bool(reason) for entries in settled.values() for _, reason in entries))
        if settled:
            for shard in await self._outbox.remove(settled):
                self._leases.lost(shard)
        return all(status in SETTLED for status, _ in outcomes)


_HEADERS: Final = {"Content-Type": "application/json"}


class _Fenced(aiohttp.Payload):
    """A body that is written only while we may: to connect may take longer than a lease lives."""

    def __init__(self, body: bytes, allowed: Callable[[], bool]) -> None:
        super().__init__(body)
        self._size = len(body)
        self._allowed = allowed
        self.held_back = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return it as text."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write it, or raise ConnectionAbortedError."""
        if not self._allowed():
            self.held_back = True
            raise ConnectionAbortedError("a lease ran out before the batch could be sent")
        await writer.write(self._value)


def _fault_of(entry: Waiting) -> str:
    """Say what makes an entry one that no append wrote and that would spoil the whole POST; '' if nothing does."""
    try:
        for field in (entry.room, entry.user, entry.name, entry.ref):
            field.decode()
        messages = orjson.loads(b"[%b]" % entry.messages)
    except ValueError as e:  # of UTF-8 or JSON
        return f"the entry can't be read: {e}"
    return "" if messages and all(isinstance(one, dict) for one in messages) else "the entry holds no messages"


def _outcomes(text: bytes, count: int) -> list[tuple[str, str]]:
    """Read Logic's answer; raise ValueError where it is none, as when something else listens at its address."""
    try:
        outcomes = [(str(one["status"]), str(one.get("reason") or "")) for one in orjson.loads(text)["results"]]
    except (KeyError, TypeError, AttributeError):
        outcomes = []
    if len(outcomes) != count:
        raise ValueError(f"this is no answer of Logic's: {text[:REASON_BYTES]!r}")
    return outcomes


def _body(batch: list[Waiting]) -> bytes:
    return b'{"sends":[%b]}' % b",".join(
        b'{"roomId":%b,"userId":%b,"userName":%b,"ref":%b,"messages":[%b]}'
        % (_text(one.room), _text(one.user), _text(one.name), _text(one.ref), one.messages)
        for one in batch
    )


def _text(value: bytes) -> bytes:
    return orjson.dumps(value.decode())


def _messages(batch: list[Waiting]) -> int:
    return sum(entry.count for entry in batch)


def _fewer_or_more(count: int, waiting: list[Waiting]) -> int:
    """Return how many entries of a shard to read next, so that all together are about two batches."""
    size = sum(len(entry.messages) for entry in waiting)
    return max(1, min(ENTRIES, count * 2, count * 2 * BATCH_BYTES // max(1, size)))


def _fit(waiting: list[Waiting]) -> list[Waiting]:
    """Return as many entries as one POST should hold: from the head of each shard, at least one."""
    size, count = 0, 0
    for entry in waiting:
        size += len(entry.messages)
        if count and size > BATCH_BYTES:
            break
        count += 1
    return waiting[:count]
