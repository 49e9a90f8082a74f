"""The settings as docs/operations.md lists them, from the services' own models; `make docs` writes them there."""

import re
from pathlib import Path
from typing import Final

from comet.config import CometSettings
from common.config import SharedSettings, flag
from common.masking import SecretUrl
from common.sources import FILE
from job.config import JobSettings
from logic.config import LogicSettings

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
SETTINGS: Final[dict[str, type[SharedSettings]]] = {"comet": CometSettings, "logic": LogicSettings, "job": JobSettings}
BEGIN, END = "<!-- written by `make docs` -->\n", "<!-- until here -->\n"


def table() -> str:
    """Return a table for what all services share and one for each service."""
    parts = [_part("All three services", SharedSettings, list(SharedSettings.model_fields))]
    parts += [
        _part(name.capitalize(), cls, [field for field in cls.model_fields if field not in SharedSettings.model_fields])
        for name, cls in SETTINGS.items()
    ]
    return "\n".join(parts)


def _part(title: str, cls: type[SharedSettings], fields: list[str]) -> str:
    rows = ["| environment | file | flag | default | what |", "|---|---|---|---|---|"]
    for field in fields:
        spec = cls.model_fields[field]
        names = f"`{cls.env_name(field)}` | `{cls.file_key(field)}` | `{flag(field)}`"
        what = (spec.description or "").replace("|", "\\|")
        rows.append(f"| {names} | {_shown(spec.default)} | {what} |")
        if field in cls.secrets():
            file = field + FILE
            names = f"`{cls.env_name(file)}` | `{cls.file_key(file)}` | `{flag(file)}`"
            rows.append(f"| {names} | none | file that holds `{cls.env_name(field)}` instead |")
    return f"**{title}**\n\n" + "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    value = str(default) if isinstance(default, SecretUrl) else default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value not in {"", None} else "none"


def page() -> str:
    """Return the page with the tables as they should be."""
    text = PAGE.read_text()
    return re.sub(f"(?s){re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{table()}\n{END}", text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
