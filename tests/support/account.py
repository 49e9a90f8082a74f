"""The account of a watched scene: what each panel must show, by title and legend.

Counts, where the panel shows a rate: what happened within the window. From the services come only durations, how Job
bundled and committed, and which of its calls failed; they are read and reckoned without Prometheus.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from tests.support.readings import Reading, cpu_seconds
from tests.support.scene import EMPTY, MEMBERS, ROOM, SLOW, STUCK, Scene
from tests.support.shards import SHARDS

# Messages for a Comet that is frozen: pushed, or past its life abandoned; delivered by whichever path is first.
FROZEN = 20
BY_CHANCE = (0, FROZEN)
RANK_TOLERANCE = 0.05

Expected = float | tuple[float, float]  # a number, or from and to where chance has a say
Shown = Mapping[str, Expected]  # by legend; what is not named is 0


@dataclass(slots=True, frozen=True)
class Moment:
    """What the test and the services know at one moment."""

    time_s: float
    reading: Reading
    told: Counter[str]
    took: Counter[str]
    redis_memory_bytes: int

    @classmethod
    async def take(cls, scene: Scene) -> "Moment":
        """Read everything."""
        memory = await scene.redis.info("memory")
        told, took = scene.gate.told.copy(), scene.gate.took.copy()
        return cls(time.time(), await scene.read(), told, took, memory["used_memory"])


@dataclass(slots=True, frozen=True)
class Account:
    """What the test did to a scene between two moments."""

    scene: Scene
    begin: Moment
    end: Moment

    def did(self, *what: str) -> int:
        """Return how often the test did these."""
        return sum(self.scene.did[one] for one in what)

    def told(self, outcome: str) -> int:
        """Return of how many messages the gate told Comet so."""
        return self.end.told[outcome] - self.begin.told[outcome]

    def took(self, what: str) -> int:
        """Return how many posts, or sends by their status, Logic took from the gate."""
        return self.end.took[what] - self.begin.took[what]

    def grew(self, name: str, /, **labels: str) -> float:
        """Return how much a counter of the services grew."""
        return self.end.reading.total(name, **labels) - self.begin.reading.total(name, **labels)

    def quantiles(self, q: float, name: str, label: str, *values: str) -> Shown:
        """Return a quantile of a histogram for each value of a label."""
        return {value: self.quantile(q, name, **{label: value}) for value in values}

    def quantile(self, q: float, name: str, /, **labels: str) -> tuple[float, float]:
        """Return a quantile of what a histogram observed, from the rank just below to the one just above.

        Prometheus extrapolates the rate of each bucket by itself, and one that was empty before the window less than
        the others: the rank is known to a few in a hundred, and past 1 lies the slowest that there was before.
        """
        now, before = self.end.reading, self.begin.reading
        low = now.quantile_since(before, q * (1 - RANK_TOLERANCE), name, **labels)
        if q * (1 + RANK_TOLERANCE) > 1:
            return low, now.quantile_since(Reading({}, {}), 1, name, **labels)
        return low, now.quantile_since(before, q * (1 + RANK_TOLERANCE), name, **labels)

    @property
    def arrived(self) -> int:
        """Messages in rooms that have members."""
        return self.did(f"said in {ROOM}", f"said in {SLOW}", f"posted to {ROOM}")

    @property
    def written(self) -> tuple[int, int]:
        """Messages that sessions got; those that read nothing got some before they were cut off."""
        by_talker = self.did(f"said in {SLOW}")
        least = MEMBERS * (self.arrived - by_talker) + by_talker
        return least, least + STUCK * by_talker

    @property
    def pushed(self) -> int:
        """Records for somebody who is online, those for a frozen Comet among them."""
        return self.arrived - self.did("bad") + self.did("pushed", "broadcast")

    @property
    def failed_calls(self) -> float:
        """How often Job found Comet frozen."""
        return self.grew("grpc_calls_total", service="job", name="broadcast_room", status="failed")


def overview(a: Account) -> dict[str, Shown]:
    """Return what the overview must show."""
    comet = a.scene.instances["comet"]
    forwarded = a.arrived - a.did("bad")
    return {
        "Services up": {f"{job} {instance}": 1 for job, instance in a.scene.instances.items()},
        "Forward to Logic: success rate": {"success rate": a.end.told["success"] / a.end.told.total()},
        "Forward to Logic: messages a second": {comet: a.told("success")},
        "Connections and rooms": {f"connections {comet}": MEMBERS + 1, f"rooms {comet}": 2},
        "Messages in": {
            "by comet": a.did(f"said in {ROOM}", f"said in {SLOW}"),
            "by logic": a.did(f"posted to {ROOM}", f"posted to {EMPTY}"),
        },
        "Messages out": {comet: a.written},
        "Deliveries by path": {
            "pubsub delivered": (a.arrived - FROZEN, a.arrived),
            "push duplicate": (forwarded - FROZEN, forwarded),
            **dict.fromkeys(("push delivered", "pubsub duplicate", "pubsub held", "push held"), BY_CHANCE),
        },
        "Latency of both paths": {
            f"{path} p{q}": a.quantile(q / 100, "comet_delivery_seconds", path=path)
            for path in ("pubsub", "push")
            for q in (50, 99)
        },
        "Latency of each hop, p99": {
            "append": a.quantile(0.99, "chat_append_seconds"),
            "forward": a.quantile(0.99, "comet_forward_seconds"),
            "Logic": a.quantile(0.99, "logic_request_seconds", operation="send_batch"),
            "produce": a.quantile(0.99, "logic_produce_seconds"),
            "Kafka and Job": a.quantile(0.99, "job_delivery_seconds"),
            "push": a.quantile(0.99, "job_push_seconds", name="broadcast_room"),
        },
        "Outbox: appends not yet in Kafka": {"entries": 0},
        "Outbox: age of the oldest": {"age": 0},
        "Kafka lag": {f"partition {number}": 0 for number in range(4)},
        "Slow consumers": {comet: a.did("slow")},
        "Errors": {
            "frames: bad_request": a.did("nonsense"),
            "forwards": a.told("failed"),
            "Logic: 400": a.did("refused"),
            "pushes: broadcast_room": a.failed_calls,
            "records: abandoned": BY_CHANCE,
        },
        "Redis memory": {"used": a.end.redis_memory_bytes, "limit": 512 * 2**20},
        "Redis: weak settings": {"weak settings": 1},
    }


def services(a: Account) -> dict[str, Shown]:
    """Return what the services' dashboard must show."""
    at = a.scene.instances
    return {**_comet(a, at["comet"]), **_logic(a, at["logic"]), **_job(a), **_all_three(a)}


def _comet(a: Account, comet: str) -> dict[str, Shown]:
    return {
        "Comet: connections": {
            "opened": a.did("opened"),
            "closed 4001": a.did("slow"),
            "closed 1006": a.did("aborted"),
        },
        "Comet: frames and appends": {
            "frames": a.did("frames"),
            "appends: stored": a.did(f"said in {ROOM}", f"said in {SLOW}"),
        },
        "Comet: holes": {"repaired": BY_CHANCE, "told": 0, "PubSub lost": a.did("cut")},
        "Comet: appends that wait": {comet: 0},
        "Comet: outbox leases": {comet: SHARDS.count},
        "Comet: dead letters": {comet: a.did("bad")},
    }


def _logic(a: Account, logic: str) -> dict[str, Shown]:
    posted = a.did(f"posted to {ROOM}", f"posted to {EMPTY}")
    return {
        "Logic: requests": {
            "send 200": posted,
            "send 400": a.did("refused"),
            "send_batch 200": a.took("posts"),
            "push 200": a.did("pushed"),
            "broadcast 200": a.did("broadcast"),
        },
        "Logic: latency of requests, p99": a.quantiles(
            0.99, "logic_request_seconds", "operation", "send", "send_batch", "push", "broadcast"
        ),
        "Logic: sends": {"comet success": a.took("success"), "backend success": posted},
        "Logic: pushes and broadcasts": {"push": a.did("pushed"), "broadcast": a.did("broadcast")},
        "Logic: waits for Kafka": {logic: 0},
        "Logic: Kafka and Redis": {f"Kafka {logic}": 1, f"Redis {logic}": 1},
    }


def _job(a: Account) -> dict[str, Shown]:
    return {
        "Job: records": {
            "pushed": (a.pushed - FROZEN, a.pushed),
            "offline": a.did(f"posted to {EMPTY}"),
            "abandoned": BY_CHANCE,
        },
        "Job: calls to Comet": {
            "broadcast_room success": a.grew("grpc_calls_total", name="broadcast_room", status="success"),
            "broadcast_room failed": a.failed_calls,
            "push_msg success": a.did("pushed"),
            "broadcast success": a.did("broadcast"),
        },
        "Job: latency of calls, p99": a.quantiles(
            0.99, "job_push_seconds", "name", "broadcast_room", "push_msg", "broadcast"
        ),
        "Job: records in a call": {
            "records": a.grew("job_messages_per_call_sum") / a.grew("job_messages_per_call_count")
        },
        "Job: nodes": {"nodes": 1, "suspected": 0, "pushes that wait": 0},
        "Job: commits": {"success": a.grew("job_commits_total", result="success")},
    }


def _all_three(a: Account) -> dict[str, Shown]:
    at, pids = a.scene.instances, a.scene.pids
    begin, end, now = a.begin.reading.cpu_s, a.end.reading.cpu_s, cpu_seconds(pids)
    return {
        # The last scrape lies between the end and now. On a busy machine that is long enough to use some CPU.
        "CPU": {f"{job} {at[job]}": (end[job] - begin[job], now[job] - begin[job]) for job in at},
        "Memory": {f"{job} {at[job]}": psutil.Process(pids[job]).memory_info().rss for job in at},
    }
