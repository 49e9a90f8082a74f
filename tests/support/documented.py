"""What the documents show: their examples of code, and the commands of their console blocks with what they print."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
DOCUMENTED_HOST: Final = "localhost:8082"
INTERRUPTED: Final = "^C"

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`((?:make|chatroom|python|docker|pip|npm|curl|\.venv/bin/\w+) [^`\n]+)`")
_COMMENT: Final = re.compile(r"(^|\s{2,})#.*")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of a document as one types it, and the lines that it is shown to print; no command: lines alone."""

    where: str
    text: str
    lines: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether it goes on until Ctrl-C."""
        return self.lines[-1:] == (INTERRUPTED,)


def example(document: str, language: str, host: str) -> str:
    """Return a document's only block of code in a language, made to talk to another host."""
    [code] = [body for found, body in _BLOCK.findall((DOCS / document).read_text()) if found == language]
    assert DOCUMENTED_HOST in code
    return str(code).replace(DOCUMENTED_HOST, host)


def shown(document: str) -> list[Shown]:
    """Return what the document's console blocks show, in their order."""
    text = (ROOT / document).read_text()
    return [one for block in _BLOCK.finditer(text) if block[1] == "console" for one in _of_console(document, block)]


def other_commands(document: str) -> set[str]:
    """Return the commands of which nothing is shown: those of sh blocks and those within the text."""
    text = (ROOT / document).read_text()
    blocks = [body for language, body in _BLOCK.findall(text) if language == "sh"]
    prose = " ".join(_BLOCK.sub("", text).split("\n"))
    return {command for body in blocks for command, _ in _commands(body.splitlines())} | set(_INLINE.findall(prose))


def _of_console(document: str, block: re.Match[str]) -> Iterator[Shown]:
    where = f"{document}:{block.string[: block.start()].count(chr(10)) + 2}"
    before, *rest = re.split(r"^\$ ", block[2], flags=re.MULTILINE)
    if before:
        yield Shown(where, "", tuple(before.splitlines()))
    for one in rest:
        [(command, lines), *_] = _commands(one.splitlines())
        yield Shown(where, command, tuple(lines))


def _commands(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each command, which may take several lines, and the lines behind it."""
    command = ""
    for number, line in enumerate(lines, 1):
        command += _COMMENT.sub("", line)
        if _is_whole(command):
            yield command, lines[number:]
            command = ""
        elif command:
            command += "\n"


def _is_whole(command: str) -> bool:
    try:
        return bool(shlex.split(command)) and not command.endswith(("|", "\\"))
    except ValueError:  # a quote is open
        return False
