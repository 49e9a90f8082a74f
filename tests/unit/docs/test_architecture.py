"""docs/architecture.md is true: its table of hops and the files' opening lines say the same."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
OPENING = re.compile(r'(?:r?"""|-- )(Hop (\d) of 9: (.+))')
STEP = re.compile(r"^(\d)\. \*\*(.+?)\.\*\* ", re.MULTILINE)
ROW = re.compile(r"^\| (\d) \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def opening_lines() -> dict[str, tuple[str, str]]:
    """Return each file whose first line names its hop: (hop, the rest of the line)."""
    found = {}
    for folder in ("comet", "common", "job", "logic"):
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in {".py", ".lua"}:
                match = OPENING.match(path.read_text().split("\n", 1)[0])
                if match:
                    found[f"{folder}/{path.name}"] = (match[2], match[3].rstrip('"').rstrip())
    return found


def test_the_table_of_hops_is_what_the_files_say() -> None:
    """Each file on a message's way stands in the table with its hop and the words of its first line, and no other."""
    table = {path: (hop, words) for hop, path, words in ROW.findall((ROOT / "docs/architecture.md").read_text())}
    assert table == opening_lines()


def test_every_hop_has_a_file_and_is_one_step() -> None:
    """The walk has no gap: each of the nine hops has files, and one step of its own below the table."""
    steps = dict(STEP.findall((ROOT / "docs/architecture.md").read_text()))
    assert {hop for hop, _ in opening_lines().values()} == set(steps) == {str(hop) for hop in range(1, 10)}
    assert len(set(steps.values())) == len(steps)


def test_every_file_that_a_hop_leads_to_is_a_hop_itself() -> None:
    """No file on the path is left out: each that an opening line names, in its own folder or another, has a row."""
    hops = opening_lines()
    named = {
        (path, name if "/" in name else f"{path.partition('/')[0]}/{name}")
        for path, (_, words) in hops.items()
        for name in re.findall(r"[\w/]+\.(?:py|lua)", words)
    }
    assert [(path, name) for path, name in sorted(named) if name not in hops] == []


def test_every_file_named_in_the_document_exists() -> None:
    """No path in the document is stale."""
    named = re.findall(
        r"`((?:comet|common|job|logic|chatroom|protos)/[\w/]+\.\w+)`", (ROOT / "docs/architecture.md").read_text()
    )
    assert [path for path in named if not (ROOT / path).exists()] == []
