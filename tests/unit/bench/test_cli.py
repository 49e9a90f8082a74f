"""The command line of the bench: every part, with an example, and faults in one line."""

import dataclasses

import click
import pytest
from click.testing import CliRunner

from bench import __main__ as cli
from bench.benchmark import Benchmark, RunOptions
from bench.measures import Unmeasured
from bench.report.results import Report


def names() -> list[str]:
    """Return the parts' names."""
    return [one.name for one in cli.BENCHMARKS]


def test_all_parts_are_commands() -> None:
    """Each part, and `all`."""
    assert set(cli.group().commands) == {"all", *names()}
    assert {"fanout", "rooms", "connections", "latency", "pushes", "ingest", "size", "capacity"} == set(names())


@pytest.mark.parametrize("name", ["all", *names()])
def test_help_has_defaults_and_an_example(name: str) -> None:
    """Of the very command."""
    said = CliRunner().invoke(cli.group(), [name, "--help"])
    assert said.exit_code == 0
    assert f"Example: python -m bench {name}" in said.output
    assert "bench/results" in said.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fanout", "--clients", "0"], "--clients"),
        (["rooms", "--clients", "10", "--rooms", "4"], "10 clients can't be spread evenly over 4 rooms"),
        (["connections", "--clients", "10", "--rooms", "4"], "10 clients can't be spread evenly over 4 rooms"),
        (["fanout", "--set", "nonsense"], "--set takes a setting of a service"),
        (["fanout", "--burst", "x"], " fanout: Invalid value for '--burst'"),
        (["fan"], ": No such command 'fan'"),
    ],
)
def test_a_wrong_use_is_one_line(arguments: list[str], said: str) -> None:
    """Said before anything is measured."""
    done = CliRunner().invoke(cli.group(), arguments)
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit)
    assert said in done.output.splitlines()[-1]


@pytest.mark.parametrize("one", cli.BENCHMARKS, ids=lambda one: one.name)
def test_what_nobody_asks_for_is_the_same_alone_and_among_all(one: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench` measures what each part does by itself."""
    seen = []

    async def note(_bed: object, options: RunOptions) -> Report:
        seen.append(options.own)
        raise Unmeasured("noted")

    monkeypatch.setattr(cli, "BENCHMARKS", (dataclasses.replace(one, run=note),))
    for name in (one.name, "all"):
        CliRunner().invoke(cli.group(), [name], catch_exceptions=False)
    alone, among_all = seen
    assert alone == among_all


def test_a_part_that_cannot_be_measured_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the command fails in the end."""
    ran = []

    async def fail(_bed: object, _options: RunOptions) -> None:
        raise Unmeasured("the machine is too busy")

    async def run(_bed: object, _options: RunOptions) -> None:
        ran.append(True)
        raise Unmeasured("likewise")

    made = [Benchmark(name, "Something", "", 1.0, work) for name, work in (("first", fail), ("second", run))]  # type: ignore[arg-type]  # no results
    monkeypatch.setattr(cli, "BENCHMARKS", made)
    done = CliRunner().invoke(cli.group(), ["all"])
    assert done.exit_code == 1
    assert "first could not be measured: the machine is too busy" in done.output
    assert ran == [True]


def test_options_are_clicks() -> None:
    """A part's own defaults are what `all` runs it with."""
    for one in cli.BENCHMARKS:
        assert all(isinstance(option, click.Option) for option in one.options)
