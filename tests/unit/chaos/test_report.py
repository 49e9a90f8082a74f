"""The report: everything that the verdict says, for people; and the picture, which is drawn of any run."""

import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import measures
from tests.chaos import picture, report
from tests.chaos.checker import check
from tests.chaos.evidence import Evidence, Struck
from tests.chaos.verdict import WRONG, Verdict, Violation
from tests.unit.chaos.sound import BEGAN, busy, sound, with_faults

COMMAND = "make chaos SEED=7 FAULTS=2"


def written(run: Evidence, verdict: Verdict | None = None) -> str:
    """Return the report of a run."""
    verdict = verdict or check(run)
    return report.text(run, verdict, seed=7, command=COMMAND, versions={"Redis": "7.2.1"}, load="200 messages a second")


def test_a_sound_run_is_told_as_such() -> None:
    """With when, on what, of which versions, and how to run it again."""
    run = with_faults(sound(), ["kill_redis", "freeze_job"])
    run.refused = {"unavailable": 1234}
    run.held_back = 17
    text = written(run)
    assert "**Nothing lost, doubled, reordered or skipped: 24 acked messages, 2 faults, longest gap" in text
    assert "2027-01-15 08:00 UTC, " in text
    assert measures.describe() in text
    for part in ("seed 7", "Redis 7.2.1", COMMAND, "200 messages a second", "1,234 x unavailable", "(chaos.svg)"):
        assert part in text
    assert "Offered were 1,600 messages, under 2 faults of 2 s or more at least 200 a second" in text
    assert "17 were held back" in text
    assert "Violations" not in text


def test_the_table_has_a_row_for_each_kind_the_calm_and_all() -> None:
    """Its cells stand in the columns' order."""
    run = with_faults(sound(), ["kill_redis", "freeze_job", "kill_redis"])
    rows = [line.strip("| ").split(" | ") for line in written(run).splitlines() if line.startswith("|")]
    assert rows[0] == list(report.COLUMNS)
    assert [row[0] for row in rows[2:]] == ["freeze job", "kill redis", "(calm)", "**all**"]
    assert rows[3][1:8] == ["2", "0", "0", "0", "0", "0", "0"]
    assert rows[5][1:3] == ["**3**", "**24**"]


def test_violations_are_listed_up_to_a_number() -> None:
    """Each in one line, however long and broken its text; the rest is counted."""
    verdict = check(sound())
    verdict.violations = [Violation("view", WRONG, "room_a", 3, 5, "bad\n" * 400, BEGAN)] * 60
    text = written(sound(), verdict)
    assert "**NOT SOUND: 60 violations of: view.**" in text
    assert text.count("- **view** wrong `room_a` 3 to 5: 08:00:00 (calm): bad bad") == report.MOST_SHOWN
    assert "- and 10 more" in text
    assert max(map(len, text.splitlines())) < 1000


def test_what_concerns_no_message_is_listed_too() -> None:
    """Without a room and a time."""
    run = sound()
    run.unexpected.append("comet-1 ended with 1")
    assert "- **unexpected** wrong: (calm): comet-1 ended with 1" in written(run)


@pytest.mark.parametrize(("seconds", "kinds"), [(30, ["kill_redis"]), (200, ["cut_clients", "something_new"] * 8)])
def test_the_picture_names_all_faults(tmp_path: Path, seconds: int, kinds: list[str]) -> None:
    """It is an SVG that the same run draws the same, in rows where it is long."""
    run = busy(seconds, kinds, random.Random(1))  # noqa: S311 - the same each time
    picture.draw(run, tmp_path / "one.svg", "A title")
    picture.draw(run, tmp_path / "two.svg", "A title")
    first = (tmp_path / "one.svg").read_text()
    assert first == (tmp_path / "two.svg").read_text()
    assert ET.fromstring(first).tag.endswith("svg")  # noqa: S314 - our own file
    assert all(first.count(f"<!-- {kind.replace('_', ' ')} -->") == kinds.count(kind) for kind in kinds)


def test_both_files_are_written(tmp_path: Path) -> None:
    """Into a folder that need not exist, also of a run in which nothing happened."""
    out = tmp_path / "bench" / "results"
    run = Evidence(BEGAN, BEGAN)
    path = report.write(out, run, check(run), seed=7, command=COMMAND, versions={})
    assert path == out / "chaos.md"
    assert "NOT SOUND" in path.read_text()
    assert (out / "chaos.svg").stat().st_size > 1000


def test_a_fault_outside_of_the_picture_does_not_widen_it() -> None:
    """As one that went on when the load had ended."""
    run = sound()
    run.faults.append(Struck(0, "kill_redis", run.ended + 50, run.ended + 60, ""))
    with_it = picture.rates((one.at for one in run.acked), run.began, 3)
    assert sum(with_it) == len(run.acked)


def test_progress_fits_into_a_line() -> None:
    """And keeps its columns."""
    lines = [
        report.progress_line(
            65.0, done=done, of=100, now=now, acked=10**done, delivered=10**done, outstanding=5, rate=212.4
        )
        for done, now in ((1, ""), (5, "half_open_clients"))
    ]
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) < 110
    assert "  1:05  fault   5/100  half_open_clients " in lines[1]
    assert "212/s" in lines[1]
