"""`python -m bench`: each part is a sub-command; `all` runs every part and is what `make bench` does."""

import asyncio
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from bench.benchmark import Benchmark, Options
from bench.report import index, pictures, results
from bench.report.measures import Unmeasured
from bench.report.progress import Progress
from chatroom import usage
from common.errors import StartupError
from testbed.bed import TestBed

# In the order of `all`; each has a BENCHMARK.
MODULES: Final = ("fanout", "rooms", "connections", "latency", "pushes", "ingest", "size", "capacity")
INTERRUPTED: Final = 130
REPEAT: Final = 3
_NOT_OURS: Final = ", whose CPU is not measured then, instead of starting one."


def parts() -> list[Benchmark]:
    """Return all parts."""
    return [importlib.import_module(f"bench.cases.{name}").BENCHMARK for name in MODULES]


def common_options(seconds: float | None) -> list[click.Option]:
    """Return what every part can be told. `seconds` is the default, None where each part has its own."""
    shown = "each part's own" if seconds is None else f"{seconds:g}"
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
    """Return the command with a sub-command for each part."""
    found = parts()
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
        callback=lambda **chosen: _run(found, **chosen),
        help="Run all parts (what `make bench` does).",
        epilog="Example: python -m bench all --repeat 1",
    )
    bench.add_command(everything)
    for part in found:
        bench.add_command(_command(part))
    return bench


def _command(part: Benchmark) -> click.Command:
    return click.Command(
        part.name,
        params=[*part.options, *common_options(part.seconds)],
        callback=lambda **chosen: _run([part], **chosen),
        help=part.about,
        epilog=f"Example: {part.example}",
    )


def _run(  # noqa: PLR0913 - what every part can be told
    chosen: Sequence[Benchmark],
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
    """Run these parts one after the other, each in a test bed of its own, and write what they found."""
    progress, failed = Progress(), False
    command = f"python -m bench {' '.join(sys.argv[1:])}"
    try:
        pictures.check()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            for part in chosen:
                times = repeat or (1 if quick else REPEAT)
                lasting = seconds or (part.seconds / 2 if quick else part.seconds)
                options = Options(times, lasting, out, progress, _defaults(part) | own, command, quick)
                failed |= not runner.run(_measured(part, TestBed(redis, kafka, _pairs(settings)), options))
    except StartupError as e:
        raise click.ClickException(str(e)) from None
    except KeyboardInterrupt:
        click.echo("\nStopped; nothing is left running", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        sys.exit(1)


def _pairs(settings: Sequence[str]) -> dict[str, str]:
    """Return the settings by name. Raises StartupError for what is none."""
    for one in settings:
        if not re.fullmatch(r"(CHAT|COMET|LOGIC|JOB)_\w+=.*", one):
            raise StartupError(f"--set takes a setting of a service, such as CHAT_LOG_LEVEL=info, not {one!r}")
    return dict(one.split("=", 1) for one in settings)


def _defaults(part: Benchmark) -> dict[str, Any]:
    """Return what a part's own options are where none is given."""
    return click.Command(part.name, params=list(part.options)).make_context(part.name, []).params


async def _measured(part: Benchmark, bed: TestBed, options: Options) -> bool:
    """Measure a part; where that can't be done say so, and let the others go on."""
    try:
        await _measure(part, bed, options)
    except Unmeasured as e:
        click.echo(f"{part.name} could not be measured: {e}", err=True)
        return False
    return True


async def _measure(part: Benchmark, bed: TestBed, options: Options) -> None:
    options.progress.say(f"{part.name}: {part.about.splitlines()[0]}")
    async with bed:
        result = await part.run(bed, options)
    results.write(result, options.out, options.command)
    index.write(options.out)
    click.echo(results.text(result))


if __name__ == "__main__":
    group().main(prog_name="python -m bench")
