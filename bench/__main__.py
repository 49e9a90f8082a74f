"""`python -m bench`: a sub-command for each benchmark; `all` runs them all, as `make bench` does."""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from bench.benchmark import Benchmark, RunLog, RunOptions
from bench.cases.capacity import CAPACITY
from bench.cases.connections import CONNECTIONS
from bench.cases.fanout import FANOUT, ROOMS
from bench.cases.ingest import INGEST
from bench.cases.latency import LATENCY, PUSHES
from bench.cases.size import SIZE
from bench.measures import Unmeasured
from bench.report import pictures, results
from chatroom import usage
from common.errors import StartupError
from testbed.bed import TestBed

BENCHMARKS: Final = (FANOUT, ROOMS, CONNECTIONS, LATENCY, PUSHES, INGEST, SIZE, CAPACITY)  # in the order of `all`
INTERRUPTED: Final = 130
REPEAT: Final = 3
_NOT_OURS: Final = ", whose CPU is not measured then, instead of starting one."


def common_options(seconds: float | None) -> list[click.Option]:
    """Return the options of every benchmark. `seconds` is the default, None where each has its own."""
    shown = "each benchmark's own" if seconds is None else f"{seconds:g}"
    folder = click.Path(file_okay=False, path_type=Path)
    return [
        click.Option(["--quick"], is_flag=True, help="One repetition of half the length, and fewer sizes."),
        click.Option(
            ["--repeat"],
            type=click.IntRange(1),
            help=f"Repetitions of each measurement.  [default: {REPEAT}, or 1 with --quick]",
        ),
        click.Option(
            ["--seconds"],
            type=click.FloatRange(0.1),
            help=f"Length of one measurement.  [default: {shown}, half of it with --quick]",
        ),
        click.Option(["--redis"], metavar="URL", help=f"Use this Redis{_NOT_OURS}"),
        click.Option(["--kafka"], metavar="HOST:PORT", help=f"Use this Kafka{_NOT_OURS}"),
        click.Option(
            ["--set", "settings"],
            multiple=True,
            metavar="NAME=VALUE",
            help="Run services with this setting, such as CHAT_LOG_LEVEL=info.",
        ),
        click.Option(
            ["--out"],
            type=folder,
            default="bench/results",
            show_default=True,
            metavar="DIR",
            help="Where tables and pictures go.",
        ),
    ]


def group() -> click.Group:
    """Return the command with a sub-command for each benchmark."""
    bench = usage.Group(
        "bench",
        help="Measure what the product costs and how fast it is, against baselines in the same run.\n\n"
        "Real Redis as promised and, where Kafka counts, real Apache Kafka (Java 17 and Maven) are started and ended "
        "here. Tables and pictures go to --out. Linux, and at least two cores.",
        epilog="Example: python -m bench fanout --clients 1000 --burst 16",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    everything = click.Command(
        "all",
        params=list(common_options(None)),
        callback=lambda **chosen: _run(BENCHMARKS, **chosen),
        help="Run all benchmarks, as `make bench` does.",
        epilog="Example: python -m bench all --repeat 1",
    )
    bench.add_command(everything)
    for one in BENCHMARKS:
        bench.add_command(_command(one))
    return bench


def _command(one: Benchmark) -> click.Command:
    return click.Command(
        one.name,
        params=[*one.options, *common_options(one.seconds)],
        callback=lambda **chosen: _run([one], **chosen),
        help=one.about,
        epilog=f"Example: {one.example}",
    )


def _run(  # noqa: PLR0913 - the options of every benchmark
    benchmarks: Sequence[Benchmark],
    *,
    redis: str | None,
    kafka: str | None,
    settings: Sequence[str],
    quick: bool,
    repeat: int | None,
    seconds: float | None,
    out: Path,
    **own: Any,  # noqa: ANN401 - click has given each its type
) -> None:
    """Run the benchmarks one after the other, each in a test bed of its own, and write the results."""
    progress, failed = RunLog(), False
    try:
        pictures.check()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            for one in benchmarks:
                times = repeat or (1 if quick else REPEAT)
                lasting = seconds or (one.seconds / 2 if quick else one.seconds)
                options = RunOptions(times, lasting, progress, _defaults(one) | own, quick)
                failed |= not runner.run(_measured(one, TestBed(redis, kafka, _pairs(settings)), options, out))
    except StartupError as e:
        raise click.ClickException(str(e)) from None
    except KeyboardInterrupt:
        click.echo("\nStopped; nothing is left running", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        sys.exit(1)


def _pairs(settings: Sequence[str]) -> dict[str, str]:
    """Return the settings by name. Raises StartupError where one is malformed."""
    for one in settings:
        if not re.fullmatch(r"(CHAT|COMET|LOGIC|JOB)_\w+=.*", one):
            raise StartupError(f"--set takes a setting of a service, such as CHAT_LOG_LEVEL=info, not {one!r}")
    return dict(one.split("=", 1) for one in settings)


def _defaults(one: Benchmark) -> dict[str, Any]:
    """Return a benchmark's own options with their defaults."""
    return click.Command(one.name, params=list(one.options)).make_context(one.name, []).params


async def _measured(one: Benchmark, bed: TestBed, options: RunOptions, out: Path) -> bool:
    """Run a benchmark; where it can't measure, say so, so that the others still run."""
    options.progress.say(f"{one.name}: {one.about.splitlines()[0]}")
    try:
        async with bed:
            report = await one.run(bed, options)
    except Unmeasured as e:
        click.echo(f"{one.name} could not be measured: {e}", err=True)
        return False
    results.write(report, out, f"python -m bench {' '.join(sys.argv[1:])}")
    click.echo(results.text(report))
    return True


if __name__ == "__main__":
    group().main(prog_name="python -m bench")
