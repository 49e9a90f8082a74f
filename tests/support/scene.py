"""A scene to be watched: a whole stack, Prometheus beside it, clients in rooms, and the ledger of what they did."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from chatroom.up.guard import Guard
from common import keys
from testbed.chatroom_up import ChatroomUp
from testbed.prometheus import Prometheus
from testbed.raw_client import RawClient, raw_clients
from tests.conftest import StackMaker
from tests.support.eventually import eventually
from tests.support.frozen import frozen
from tests.support.logic_gate import BAD, LogicGate
from tests.support.metrics import asample, until_sample
from tests.support.readings import Reading
from tests.support.shards import SHARDS

ROOM, EMPTY, SLOW = "chat", "empty", "slow"
MEMBERS, STUCK = 3, 2
GATE_PAUSE_S = 0.06
BALLAST_BYTES = 20_000_000  # beside which what a connection takes of Redis's memory is nothing
NOTE = '{"type":"note","payload":{}}'
SETTINGS = {
    "COMET_OUTBOUND_BYTES": "65536",
    "COMET_JOIN_MESSAGES": "0",  # who is to read nothing gets its hello first
    "COMET_RATE_MESSAGES_PER_SECOND": "100000",
    "COMET_RATE_BURST_MESSAGES": "100000",
    "JOB_PUSH_DEADLINE_SECONDS": "60",
    "CHAT_LOG_LEVEL": "warning",
}


@dataclass(slots=True)
class Scene:
    """All that takes part. `did` is the ledger."""

    stack: ChatroomUp
    gate: LogicGate
    prometheus: Prometheus
    http: aiohttp.ClientSession
    redis: Redis
    members: list[RawClient]  # of ROOM
    talker: RawClient  # in SLOW
    did: Counter[str] = field(default_factory=Counter)

    @property
    def pids(self) -> dict[str, int]:
        """Each service's program."""
        return {name: self.stack.pid_of(name) for name in urls_of(self.stack)}

    @property
    def instances(self) -> dict[str, str]:
        """What Prometheus calls each service."""
        return instances_of(self.stack)

    async def read(self) -> Reading:
        """Read what the services say now."""
        return await Reading.take(urls_of(self.stack), self.pids)

    # -- one thing at a time -----------------------------------------------------------------------------------------

    def say(self, client: RawClient, room: str, content: str) -> None:
        """Send a message."""
        client.send("clientMessages", roomId=room, content=content)
        self.did.update(["frames", f"said in {room}"])

    async def chat(self, count: int, content: str = "x") -> None:
        """Send messages to the members, who get them."""
        seen = len(self.members[0].seqs)
        for _ in range(count):
            self.say(self.members[0], ROOM, content)
        await self.all_see(seen + count)

    async def all_see(self, count: int) -> None:
        """Wait until each member has so many messages."""
        for member in self.members:
            await member.until(lambda: len(member.seqs) >= count)  # noqa: B023 - awaited within the round

    def talk_nonsense(self, count: int) -> None:
        """Send frames without what they need."""
        for _ in range(count):
            self.members[0].send("clientMessages", roomId=ROOM)
            self.did.update(["frames", "nonsense"])

    async def post(self, path: str, count: int, what: str, body: Mapping[str, object], status: int = 200) -> None:
        """Be as many backends."""

        async def once() -> None:
            async with self.http.post(f"{self.stack.logic_url}{path}", json=body) as answer:
                assert answer.status == status, await answer.text()

        await asyncio.gather(*(once() for _ in range(count)))
        self.did[what] += count

    async def post_to(self, room: str, count: int) -> None:
        """Send as a backend."""
        body = {"roomId": room, "userId": "b", "userName": "B", "messages": [{"content": "x"}]}
        await self.post("/logic/send", count, f"posted to {room}", body)

    async def come_and_go(self, count: int) -> None:
        """Connect and hang up."""
        async with raw_clients(self.port, count, "rooms="):
            self.did.update(opened=count, aborted=count)

    async def clog(self, count: int) -> None:
        """Have clients that read nothing cut off."""
        url = urls_of(self.stack)["comet"]
        goal = await asample(url, "comet_slow_consumers_total") + count
        async with raw_clients(self.port, count, f"rooms={SLOW}", small=True) as stuck:
            for client in stuck:
                client.stop_reading()

            async def all_are_cut_off() -> bool:
                seen = len(self.talker.seqs)
                self.say(self.talker, SLOW, "x" * 12_000)
                await self.talker.until(lambda: len(self.talker.seqs) > seen)
                return await asample(url, "comet_slow_consumers_total") == goal

            await eventually(all_are_cut_off, "all cut off", timeout_s=30)
        self.did.update(opened=count, slow=count)

    async def cut_pubsub(self) -> None:
        """Kill Comet's PubSub connection and wait until there is another."""
        url, channel = urls_of(self.stack)["comet"], keys.room_keys(SHARDS.of(ROOM), ROOM).channel
        lost = await asample(url, "comet_pubsub_lost_total")
        self.did["cut"] += int(await self.redis.client_kill_filter(_type="pubsub"))
        await until_sample(url, "comet_pubsub_lost_total", lost + 1)

        async def back() -> bool:
            [(_, subscribers)] = await self.redis.pubsub_numsub(channel)
            return bool(subscribers)

        await eventually(back, "PubSub is back")

    # -- and all together --------------------------------------------------------------------------------------------

    async def everything(self, count: int) -> None:
        """Do each thing some times."""
        await self.chat(5 * count)
        await self.chat(1, BAD)
        self.did["bad"] += 1
        self.talk_nonsense(count)
        seen = len(self.members[0].seqs)
        await self.post_to(ROOM, count)
        await self.all_see(seen + count)
        await self.post_to(EMPTY, count)
        await self.post("/logic/send", count, "refused", {"roomId": ROOM}, 400)
        await self.post("/logic/push", count, "pushed", {"userIds": ["m"], "body": NOTE})
        await self.post("/logic/broadcast", count, "broadcast", {"body": NOTE})
        await self.come_and_go(count)
        await self.clog(STUCK)
        await self.cut_pubsub()

    @asynccontextmanager
    async def comet_frozen(self) -> AsyncIterator[None]:
        """Freeze Comet while inside."""
        with frozen(self.pids["comet"]):
            yield

    async def settle(self) -> None:
        """Wait until all is where it belongs and nothing moves any more."""
        last = await self.read()

        async def quiet() -> bool:
            nonlocal last
            before = last
            await asyncio.sleep(0.7)  # between two looks
            last = await self.read()
            waits = last.total("comet_outbox_length") + last.total("job_kafka_lag")
            return not waits and last.counts() == before.counts()

        await eventually(quiet, "quiet", timeout_s=30)

    @property
    def port(self) -> int:
        """Where clients connect."""
        return port_of(self.stack)


def urls_of(stack: ChatroomUp) -> dict[str, str]:
    """Return where each service's metrics are."""
    return {"comet": stack.metrics_url(), "logic": f"{stack.logic_url}/metrics", "job": stack.job_metrics_url}


def instances_of(stack: ChatroomUp) -> dict[str, str]:
    """Return what Prometheus is told of each service."""
    return {job: url.removeprefix("http://").removesuffix("/metrics") for job, url in urls_of(stack).items()}


def port_of(stack: ChatroomUp) -> int:
    """Return where clients connect."""
    return int(stack.ws_url().rstrip("/").rsplit(":", 1)[1])


@asynccontextmanager
async def playing(make_stack: StackMaker, guard: Guard, directory: Path) -> AsyncIterator[Scene]:
    """Set the scene: the stack with a gate before Logic, Prometheus, and clients in two rooms."""
    gate = LogicGate(GATE_PAUSE_S)
    stack = await asyncio.to_thread(make_stack, environ={**SETTINGS, "COMET_FORWARD_URL": gate.url})
    gate.target = stack.logic_url
    async with AsyncExitStack() as entered:
        prometheus = Prometheus(guard, directory, instances_of(stack))
        await asyncio.to_thread(prometheus.start)
        entered.callback(prometheus.kill)
        await entered.enter_async_context(gate.serving())
        http = await entered.enter_async_context(aiohttp.ClientSession())
        redis = await entered.enter_async_context(Redis.from_url(stack.redis_url))
        await redis.set("ballast", bytes(BALLAST_BYTES))
        members = await entered.enter_async_context(raw_clients(port_of(stack), MEMBERS, f"rooms={ROOM}&uid=m"))
        [talker] = await entered.enter_async_context(raw_clients(port_of(stack), 1, f"rooms={SLOW}"))
        yield Scene(stack, gate, prometheus, http, redis, members, talker)
