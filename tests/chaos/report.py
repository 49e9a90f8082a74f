"""What people read of a run: `chaos.md` with the table, `chaos.svg` (picture.py), a line while it goes on."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import measures
from tests.chaos import picture
from tests.chaos.checker import RULES
from tests.chaos.evidence import Evidence
from tests.chaos.rules_load import JUDGED_S, offered_rates
from tests.chaos.verdict import CALM, Row, Verdict, Violation

MOST_SHOWN: Final = 50  # violations; the rest is only counted
TEXT_CHARS: Final = 240  # of one
AGAIN: Final = (
    "Run it again (the same faults, in the same order, with the same choices; the load's own timing differs):"
)
COLUMNS: Final = (
    "Fault", "Times", "Messages acked", "Lost", "Doubled", "Reordered", "Otherwise wrong", "Told holes",
    "Longest gap, s",
)  # fmt: skip


def write(  # noqa: PLR0913 - what a report says
    out: Path, run: Evidence, verdict: Verdict, *, seed: int, command: str, versions: Mapping[str, str], load: str = ""
) -> Path:
    """Write both files into the folder and return the report's path. `command` replays the run, `load` describes it."""
    out.mkdir(parents=True, exist_ok=True)
    title = f"{len(run.acked):,} messages acked under {len(run.faults)} faults"
    picture.draw(run, out / "chaos.svg", title)
    report = out / "chaos.md"
    report.write_text(text(run, verdict, seed=seed, command=command, versions=versions, load=load))
    return report


def text(  # noqa: PLR0913 - what a report says
    run: Evidence, verdict: Verdict, *, seed: int, command: str, versions: Mapping[str, str], load: str = ""
) -> str:
    """Return the report in Markdown."""
    parts = [
        "# What faults did to the messages",
        f"**{verdict_line(verdict)}**",
        _about(run, seed, versions, load),
        "![Messages a second through time, the faults marked](chaos.svg)",
        _table(verdict),
        _notes(run),
        f"{AGAIN}\n\n    {command}",
    ]
    if not verdict.sound:
        parts.append(_violations(verdict))
    return "\n\n".join(parts) + "\n"


def verdict_line(verdict: Verdict) -> str:
    """Say in one line how it ended."""
    total = verdict.total
    if verdict.sound:
        return (
            f"Nothing lost, doubled, reordered or skipped: {total.acked:,} acked messages, {total.faults} faults, "
            f"longest gap {total.longest_gap_s:.1f} s."
        )
    broken = ", ".join(sorted({violation.rule for violation in verdict.violations}, key=list(RULES).index))
    return f"NOT SOUND: {len(verdict.violations):,} violations of: {broken}."


def progress_line(  # noqa: PLR0913 - what is going on
    elapsed_s: float, *, done: int, of: int, now: str, acked: int, delivered: int, outstanding: int, rate: float
) -> str:
    """Return what the terminal shows while it runs. `now` is the kind of the fault in force, "" between two."""
    return (
        f"{int(elapsed_s) // 60:3d}:{int(elapsed_s) % 60:02d}  fault {done:3d}/{of}  {now or '-':<20.20}  "
        f"{acked:>9,} acked  {rate:>6,.0f}/s  {outstanding:>5,} waiting  {delivered:>11,} delivered"
    )


# -- its parts -------------------------------------------------------------------------------------------------------


def _about(run: Evidence, seed: int, versions: Mapping[str, str], load: str) -> str:
    began = datetime.fromtimestamp(run.began, UTC)
    lines = [
        f"- {began:%Y-%m-%d %H:%M} UTC, {run.ended - run.began:.0f} s, seed {seed}",
        f"- {measures.describe()}",
        f"- {', '.join(f'{name} {number}' for name, number in versions.items())}",
    ]
    return "\n".join([*lines, f"- {load}"] if load else lines)


def _table(verdict: Verdict) -> str:
    lines = [" | ".join(COLUMNS), "|".join([":--", *["--:"] * (len(COLUMNS) - 1)])]
    lines += [" | ".join(_cells(row)) for row in verdict.rows]
    lines.append(" | ".join(f"**{cell}**" for cell in _cells(verdict.total)))
    return "\n".join(f"| {line} |" for line in lines)


def _cells(row: Row) -> list[str]:
    name = row.kind.replace("_", " ")
    times = "" if row.kind == CALM else str(row.faults)
    counts = (row.acked, row.lost, row.doubled, row.reordered, row.wrong, row.told)
    return [name, times, *(f"{count:,}" for count in counts), f"{row.longest_gap_s:.2f}"]


def _notes(run: Evidence) -> str:
    whole = sum(view.whole for view in run.views)
    refused = ", ".join(f"{count:,} x {code}" for code, count in sorted(run.refused.items())) or "none"
    return (
        "Whatever goes wrong counts for a fault from its first moment until 8 s after the part was ready again. A gap "
        "is the time from a message's append until the last client that was in the room then had it, of those that "
        "stayed connected; it counts for the fault that was in force for most of it, or else for the one before.\n\n"
        f"{_load(run)}\n\n"
        f"Checked were {sum(map(len, run.stored.values())):,} stored messages in {len(run.stored)} rooms, "
        f"{sum(len(view.seen) for view in run.views):,} deliveries to clients in {len(run.views):,} views "
        f"({whole:,} of them to the end), {len(run.produced):,} messages in Kafka, {len(run.pushed):,} pushed and "
        f"{len(run.published):,} published ones, and {len(run.broadcast_acked):,} broadcasts. "
        f"There were {run.joins:,} joins and {run.reconnects:,} reconnects. "
        f"Refused and tried again: {refused}."
    )


def _load(run: Evidence) -> str:
    """Say that the load was on under each fault."""
    rates = [rate for _, rate in offered_rates(run)]
    least = f"at least {min(rates):.0f}" if rates else "no"
    return (
        f"Offered were {len(run.offered):,} messages, under {len(rates)} faults of {JUDGED_S:g} s or more {least} a "
        f"second on average (acked or not); {run.held_back:,} were held back as too many waited for their acks."
    )


def _violations(verdict: Verdict) -> str:
    shown = [_violation(one) for one in verdict.violations[:MOST_SHOWN]]
    if len(verdict.violations) > MOST_SHOWN:
        shown.append(f"- and {len(verdict.violations) - MOST_SHOWN:,} more")
    return "\n".join(["## Violations", "", *shown])


def _violation(one: Violation) -> str:
    seqs = f"{one.seq}" if one.seq == one.until else f"{one.seq} to {one.until}"
    where = f" `{one.room}` {seqs}" if one.room else ""
    at = time.strftime(" %H:%M:%S", time.gmtime(one.at)) if one.at else ""
    said = " ".join(one.text.split())[:TEXT_CHARS]
    return f"- **{one.rule}** {one.effect}{where}:{at} {one.kind}: {said}"
