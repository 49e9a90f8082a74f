"""docs/guarantees.md is true: every test, metric and setting that it names exists."""

import ast
import re
from pathlib import Path

from prometheus_client import REGISTRY

from comet import metrics as _comet  # noqa: F401 - registers its metrics
from comet.config import CometSettings
from common import append_lane as _lane  # noqa: F401 - likewise
from common.config import SharedSettings
from job import metrics as _job  # noqa: F401 - likewise
from job.config import JobSettings
from logic import metrics as _logic  # noqa: F401 - likewise
from logic.config import LogicSettings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/guarantees.md").read_text()


def _functions(path: Path) -> set[str]:
    return {
        one.name
        for one in ast.walk(ast.parse(path.read_text()))
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_that_is_named_exists() -> None:
    """No promise rests on a test that was renamed or never written."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 40
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or (name and name not in _functions(ROOT / path))
    ]
    assert missing == []


def test_every_metric_that_is_named_exists() -> None:
    """An operator finds what the page says is counted."""
    known = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    known |= {f"{family.name}_total" for family in REGISTRY.collect() if family.type == "counter"}
    named = set(re.findall(r"`((?:comet|chat|job|logic)_\w+)", TEXT))
    assert named - known == set()


def test_every_setting_that_is_named_exists() -> None:
    """And can be set."""
    prefixes: dict[str, type[SharedSettings]] = {
        "COMET_": CometSettings,
        "LOGIC_": LogicSettings,
        "JOB_": JobSettings,
        "CHAT_": CometSettings,
    }
    named = set(re.findall(r"`((?:COMET|LOGIC|JOB|CHAT)_[A-Z_]+)`", TEXT))
    unknown = [
        name
        for name in named
        for prefix, settings in prefixes.items()
        if name.startswith(prefix) and name.removeprefix(prefix).lower() not in settings.model_fields
    ]
    assert unknown == []
