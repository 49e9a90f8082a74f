"""What every page has in common: its links lead somewhere, the settings and files that it names exist."""

import re
from pathlib import Path

import pytest

from tests.support import settings_table
from tests.support.documented import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SETTINGS = {settings.env_name(name) for settings in settings_table.SETTINGS.values() for name in settings.names()}


def anchors(page: Path) -> set[str]:
    """Return what a link may have behind its #, as GitHub makes it of the titles."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the tree and, where they name one, to a title in it; footnotes to their source."""
    text = page.read_text()
    for link in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    assert set(re.findall(r"\[\^(\w+)\](?!:)", text)) == set(re.findall(r"^\[\^(\w+)\]: <https://", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_exist(page: Path) -> None:
    """Nobody sets in vain what a page advises."""
    named = re.findall(r"`((?:CHAT|COMET|LOGIC|JOB)_[A-Z_]+[A-Z])[`=]", page.read_text())
    assert set(named) <= SETTINGS


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_exist(page: Path) -> None:
    """No path that stands as code is stale."""
    folders = "chatroom|clients|comet|common|job|logic|protos|tests|deploy|docs|bench|testbed"
    named = re.findall(rf"`((?:{folders})/[\w./-]*\w)(?:::\w+)?`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []
