"""The hunt for mutants: each promise is broken on purpose, and the checker must say so. `make chaos-mutants`.

Each hunt strikes where its mutant matters, and demands the very rule and effect that are to show it. The same strikes
on sound services, with the same patience at the end, must find nothing, or the checker would only cry wolf.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from chatroom.up.guard import Guard
from tests.chaos import gather, hunt_report, strikes
from tests.chaos.evidence import Evidence
from tests.chaos.hunt_report import Hunted
from tests.chaos.stage import Demand, Stage, staged
from tests.chaos.verdict import DOUBLED, LOST, REORDERED, WRONG, Violation
from tests.chaos.windows import AFTERMATH_S

# What Job gives up after; shorter than in a run, as one hunt needs a push that is given up.
ENVIRON: Final = {"JOB_PUSH_DEADLINE_SECONDS": "3"}
DEMAND: Final = Demand(clients=30, rooms=10)
PATIENCE_S: Final = 15.0  # at the end, for what arrives late: with a mutant all may never arrive


@dataclass(frozen=True, slots=True)
class Hunt:
    """A mutant, what brings it to light, and what the checker must find: such a rule broken, with such an effect."""

    mutant: str
    strike: Callable[[Stage], Awaitable[str]]
    rules: tuple[str, ...]
    effects: tuple[str, ...]
    calm_s: float = 4.0  # of load afterwards, for what is merely late to arrive

    def shown_by(self, run: Evidence, violations: Sequence[Violation]) -> list[Violation]:
        """Return the violations that show the mutant, and not only that the run ended before all had arrived."""
        late = _Late(run)
        return [one for one in violations if one.rule in self.rules and one.effect in self.effects and one not in late]


class _Late:
    """What may have been late only, and not lost: what was appended after the last strike was over.

    Load went on behind that, and then came the patience. On the paths to Kafka and to the nodes, which keep a room's
    order, it must have been overtaken as well.
    """

    def __init__(self, run: Evidence) -> None:
        self._struck_until = max((fault.ended for fault in run.faults), default=run.ended)
        self._lasts = {
            "kafka": _lasts((one.room, one.seq) for one in run.produced),
            "push": _lasts((one.room, one.seq) for one in run.pushed),
        }

    def __contains__(self, one: Violation) -> bool:
        if one.effect != LOST or one.rule == "history":  # what is acked and not stored never arrives
            return False
        if one.at > self._struck_until:
            return True
        return one.rule in self._lasts and one.seq >= self._lasts[one.rule].get(one.room, 0)


def _lasts(came: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the highest seq of each room."""
    lasts: dict[str, int] = {}
    for room, seq in came:
        lasts[room] = max(seq, lasts.get(room, 0))
    return lasts


HUNTS: Final = (
    Hunt("commit_before_push", strikes.kill_job_between_fetch_and_push, ("push",), (LOST,)),
    Hunt("ack_before_append", strikes.kill_redis, ("history",), (LOST,)),
    Hunt("outbox_entry_dropped", strikes.kill_logic, ("kafka",), (LOST,)),
    Hunt("hole_not_read", strikes.cut_both_paths, ("view",), (LOST,)),
    Hunt("publish_outside_the_script", strikes.calm, ("pubsub",), (REORDERED,)),
    Hunt("ref_forgotten", strikes.cut_late_answers, ("history",), (DOUBLED,)),
    Hunt("stale_forwarder", strikes.freeze_comet_and_wait, ("calm_repeats",), (DOUBLED,), calm_s=AFTERMATH_S + 6),
    Hunt("joins_not_held_back", strikes.cut_clients, ("view", "protocol"), (DOUBLED, REORDERED, WRONG)),
)


async def hunt_all(guard: Guard, directory: Path, names: Sequence[str], out: Path) -> bool:
    """Hunt all mutants, or those named, strike sound services likewise, and write the report.

    Return whether the checker was right each time.
    """
    began = time.time()
    hunts = [hunt for hunt in HUNTS if hunt.mutant in names or not names]
    results = [await _hunt(guard, directory, hunt.mutant, [hunt]) for hunt in hunts]
    results.append(await _hunt(guard, directory, "", hunts))
    path = hunt_report.write(out, results, began=began, command=replay(names))
    right = [one.right for one in results]
    click.echo(f"{sum(right)} of {len(right)} as it must be; the table is in {path}")
    return all(right)


def replay(names: Sequence[str]) -> str:
    """Return the command that hunts the same mutants; no names if all were hunted."""
    return f'make chaos-mutants ARGS="{" ".join(names)}"' if names else "make chaos-mutants"


async def _hunt(guard: Guard, directory: Path, mutant: str, hunts: Sequence[Hunt]) -> Hunted:
    """Strike as the hunts say, and show the result."""
    began = time.monotonic()
    name = mutant or "no mutant"
    click.echo(f"{name:<28} ", nl=False)
    async with staged(guard, directory / (mutant or "sound"), DEMAND, 0, mutant=mutant, environ=ENVIRON) as stage:
        for number, hunt in enumerate(hunts, 1):
            await stage.strike(number, hunt.strike.__name__, hunt.strike(stage))
            await asyncio.sleep(hunt.calm_s)
        verdict = await stage.finish(PATIENCE_S, PATIENCE_S)
        versions = await gather.versions(stage.cluster.redis_server.port)
    shown = hunts[0].shown_by(stage.evidence, verdict.violations) if mutant else []
    struck = [hunt.strike.__name__ for hunt in hunts]
    result = Hunted(mutant, struck, verdict.violations, shown, time.monotonic() - began, versions)
    click.echo(f"{result.outcome:<8} {hunt_report.found(result.violations)} ({result.seconds:.0f} s)")
    for violation in _each([*shown, *verdict.violations]) if mutant else verdict.violations[:10]:
        click.echo(f"  {violation.rule}, {violation.effect}, {violation.kind}: {violation.text[:300]}")
    return result


def _each(violations: Sequence[Violation]) -> list[Violation]:
    """Return the first violation of each rule and effect."""
    firsts: dict[tuple[str, str], Violation] = {}
    for one in violations:
        firsts.setdefault((one.rule, one.effect), one)
    return list(firsts.values())
