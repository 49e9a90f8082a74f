"""The dashboards tell the truth: a real Prometheus scrapes the stack, and each panel shows what the test did.

The test keeps a ledger of its own: what its clients sent, what its gate in front of Logic let through, what the system
says of the programs. Only how long things took, and how Job bundled them, is taken from the services; the test reads
it itself and reckons without Prometheus.
"""

import asyncio
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path

from chatroom.up.guard import Guard
from tests.conftest import StackMaker
from tests.support.account import FROZEN, Account, Expected, Moment, Shown, overview, services
from tests.support.dashboards import DASHBOARDS
from tests.support.eventually import eventually
from tests.support.metrics import asample, until_sample
from tests.support.promtool import needs_prometheus
from tests.support.scene import ROOM, Scene, playing, urls_of

TOLERANCE = 0.1
WINDOW_S = 20.0  # at least: the first and the last scrape lie up to half a second within it
JOBS = ("comet", "logic", "job")
PANELS = {panel.title: panel for dashboard in DASHBOARDS for panel in dashboard.panels}
RATE = re.compile(r"(sum( by \([^)]*\) )?\()?rate\((?!.*/)")  # of something countable, and no ratio of two


@dataclass(slots=True, frozen=True)
class Window:
    """The time that a rate is asked for: nothing moves at its ends, and it is the same for all panels."""

    begin_s: float
    end_s: float


@needs_prometheus
async def test_each_panel_shows_what_happened(make_stack: StackMaker, guard: Guard, tmp_path: Path) -> None:
    """Every query of both dashboards, afterwards and while Logic is shut off and Comet frozen; all rules are sound."""
    async with playing(make_stack, guard, tmp_path / "prometheus") as scene:
        await scene.everything(1)  # a rate does not see a series' first step
        await scene.settle()
        scene.did.clear()
        begin = await Moment.take(scene)
        await scene.prometheus.scraped(*JOBS)
        await scene.everything(40)
        await while_logic_is_shut_off(scene, 40)
        await while_comet_is_frozen(scene)
        await scene.redis.config_set("appendfsync", "everysec")
        await scene.settle()
        await asyncio.sleep(max(0.0, begin.time_s + WINDOW_S - time.time()))
        end = await Moment.take(scene)
        await scene.prometheus.scraped(*JOBS)
        account = Account(scene, begin, end)
        assert account.quantile(0.99, "comet_forward_seconds")[0] > 0.05  # where the bucket of GATE_PAUSE_S begins
        await check(scene, {**overview(account), **services(account)}, Window(begin.time_s, time.time()))
        assert set((await scene.prometheus.rules()).values()) == {"ok"}


async def while_logic_is_shut_off(scene: Scene, count: int) -> None:
    """The outbox shows what was said meanwhile, and how old it is."""
    await scene.settle()
    scene.gate.shut = True
    await scene.chat(count)
    url = urls_of(scene.stack)["comet"]
    await until_sample(url, "comet_outbox_length", count)
    least = await until_sample(url, "comet_outbox_oldest_age_seconds", 0.001)
    await scene.prometheus.scraped("comet")
    age = await show(scene, "Outbox: age of the oldest")
    assert await agree(scene, "Outbox: appends not yet in Kafka", {"entries": count}) == []
    most = await asample(url, "comet_outbox_oldest_age_seconds")
    assert least <= age["age"] <= most
    scene.gate.shut = False
    await scene.settle()


async def while_comet_is_frozen(scene: Scene) -> None:
    """The lag shows what is meant for it, in the room's one partition; and the service counts as down."""
    seen = len(scene.members[0].seqs)
    async with scene.comet_frozen():
        await scene.post_to(ROOM, FROZEN)
        await until_sample(urls_of(scene.stack)["job"], "job_kafka_lag", FROZEN)
        await scene.prometheus.scraped("logic", "job")
        lag = await show(scene, "Kafka lag")
        assert sorted(lag.values()) == [0, 0, 0, FROZEN]
        assert sorted(lag) == [f"partition {number}" for number in range(4)]

        async def comet_is_down() -> bool:
            up = await show(scene, "Services up")
            return up == {f"{job} {at}": float(job != "comet") for job, at in scene.instances.items()}

        await eventually(comet_is_down, "up without comet")
    await scene.all_see(seen + FROZEN)


async def show(scene: Scene, title: str, window: Window | None = None) -> dict[str, float]:
    """Return what a panel shows, by legend: now, or for a window, a rate as the count that it means. None is empty."""
    seconds, at_s = (window.end_s - window.begin_s, window.end_s) if window else (60.0, None)
    shown: dict[str, float] = {}
    for expr, legend in PANELS[title].targets:
        part = await scene.prometheus.show(expr.replace("[1m]", f"[{int(seconds * 1000)}ms]"), legend, at_s)
        assert part, f"{title}: {expr} finds nothing"
        assert not part.keys() & shown.keys(), f"{title}: two queries show {part.keys() & shown.keys()}"
        shown |= {name: value * seconds if RATE.match(expr) else value for name, value in part.items()}
    return shown


async def agree(scene: Scene, title: str, expected: Shown, window: Window | None = None) -> list[str]:
    """Return where a panel says otherwise than it must."""
    shown = await show(scene, title, window)
    faults = [f"{title}: no {name}" for name in expected if name not in shown]
    for name, value in shown.items():
        if not near(value, expected.get(name, 0.0)):
            faults.append(f"{title}: {name} is {value}, not {expected.get(name, 0.0)}")
    return faults


def near(value: float, expected: Expected) -> bool:
    """Whether a value is within a tenth of what is expected; NaN, as of what was not measured, counts as nothing."""
    low, high = expected if isinstance(expected, tuple) else (expected, expected)
    return low * (1 - TOLERANCE) <= (0.0 if math.isnan(value) else value) <= high * (1 + TOLERANCE)


async def check(scene: Scene, expected: dict[str, Shown], window: Window) -> None:
    """Compare every panel; all that is wrong shows at once."""
    assert expected.keys() == PANELS.keys()
    faults = [await agree(scene, title, shown, window) for title, shown in expected.items()]
    assert [fault for found in faults for fault in found] == []
