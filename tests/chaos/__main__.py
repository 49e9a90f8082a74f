"""`python -m tests.chaos run|mutants`: see `make chaos` and `make chaos-mutants`."""

import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import click
import uvloop

from chatroom.up.guard import Guard
from tests.chaos import hunt as hunting
from tests.chaos import run as running
from tests.chaos.faults import KINDS, possible_kinds
from tests.chaos.parts import NotReady
from tests.chaos.schedule import schedule
from tests.chaos.stage import Demand
from tests.chaos.verdict import Verdict

SHORT_FAULTS: Final = 18
LONG_FAULTS: Final = 110
LONG_MESSAGES: Final = 100_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Hurt the whole stack under load and account for every message."""


@main.command("run", epilog='Example: make chaos ARGS="--short --seed 7"')
@click.option("--seed", type=int, help="Replays a run by its number.  [default: by chance]")
@click.option("--short", is_flag=True, help=f"{SHORT_FAULTS} faults in two to three minutes, as CI runs it.")
@click.option("--faults", type=click.IntRange(0), help=f"How many.  [default: {LONG_FAULTS}]")
@click.option("--messages", type=click.IntRange(0), help=f"Go on until so many are acked.  [default: {LONG_MESSAGES}]")
@click.option("--kind", "kinds", multiple=True, help="Only this kind of fault (may be given again).")
@click.option("--rate", type=click.FloatRange(1), default=250.0, show_default=True, help="Messages a second.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench/results"), show_default=True)
def run_command(  # noqa: PLR0913 - the options
    *,
    seed: int | None,
    short: bool,
    faults: int | None,
    messages: int | None,
    kinds: tuple[str, ...],
    rate: float,
    out: Path,
) -> None:
    """Let scheduled faults strike under load; write the table and the picture."""
    possible = possible_kinds()
    if unknown := sorted(set(kinds) - set(possible)):
        raise click.BadParameter(f"no such kind: {', '.join(unknown)}; there are {', '.join(possible)}")
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    count = faults if faults is not None else SHORT_FAULTS if short else LONG_FAULTS
    least = messages if messages is not None else 0 if short else LONG_MESSAGES
    plan = schedule(seed, count, kinds or possible)
    click.echo(f"Seed {seed}: {count} faults of {len({fault.kind for fault in plan})} kinds")
    command = running.replay(seed, count, least, rate, kinds or (possible if set(possible) != set(KINDS) else ()))
    _in_a_folder(lambda guard, folder: running.run(guard, folder, plan, Demand(rate=rate), seed, least, command, out))


@main.command("mutants", epilog='Example: make chaos-mutants ARGS="ref_forgotten"')
@click.argument("names", nargs=-1, type=click.Choice([one.mutant for one in hunting.HUNTS]))
@click.option("--out", type=click.Path(path_type=Path), default=Path("bench/results"), show_default=True)
def mutants_command(names: tuple[str, ...], out: Path) -> None:
    """Break each promise on purpose, one at a time: the checker must notice; write the table."""
    _in_a_folder(lambda guard, folder: hunting.hunt_all(guard, folder, names, out))


def _in_a_folder(work: Callable[[Guard, Path], Awaitable[Verdict | bool]]) -> None:
    """Run it in a folder that is kept, with all logs, where something was found."""
    folder = Path(tempfile.mkdtemp(prefix="chatroom-chaos-"))
    try:
        with Guard() as guard, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(_awaited(work(guard, folder)))
        sound = result.sound if isinstance(result, Verdict) else result
    except NotReady as e:
        click.echo(f"A part did not start: {e}", err=True)
        sound = False
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        click.echo("\nStopped; nothing is left running", err=True)
        sys.exit(130)
    if not sound:
        click.echo(f"The logs of all parts are in {folder}", err=True)
        sys.exit(1)
    shutil.rmtree(folder, ignore_errors=True)


async def _awaited(work: Awaitable[Verdict | bool]) -> Verdict | bool:
    return await work


if __name__ == "__main__":
    main(prog_name="python -m tests.chaos")
