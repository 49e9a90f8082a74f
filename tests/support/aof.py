"""A Redis's append-only file, cut as a crash would cut it: by whole commands from its end. Redis is stopped meanwhile.

Redis 6.2 keeps one file, Redis 7 a folder of parts of which the last incremental one is written to.
"""

from collections.abc import Iterator
from pathlib import Path


def tail_of(directory: Path) -> Path:
    """Return the file that Redis appends to."""
    parts = sorted((directory / "appendonlydir").glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    return parts[-1] if parts else directory / "appendonly.aof"


def lose_appends(directory: Path, stream: bytes, count: int) -> int:
    """Cut off the last `count` appends to a room's stream, and what was written behind the first; return its bytes."""
    path = tail_of(directory)
    content = path.read_bytes()
    begins = [begin for begin, commands in _transactions(content) if _adds_to(commands, stream)]
    assert len(begins) >= count, f"only {len(begins)} appends are in {path.name}"
    with path.open("rb+") as file:
        file.truncate(begins[-count])
    return len(content) - begins[-count]


def _adds_to(commands: list[list[bytes]], key: bytes) -> bool:
    return any(command[0].upper() == b"XADD" and command[1] == key for command in commands)


def _transactions(content: bytes) -> Iterator[tuple[int, list[list[bytes]]]]:
    """Yield where each transaction, or single command, begins, and its commands."""
    begun, gathered = 0, list[list[bytes]]()
    inside = False
    for begin, command in _commands(content):
        name = command[0].upper()
        if not inside:
            begun, gathered = begin, []
        gathered.append(command)
        inside = name == b"MULTI" or (inside and name != b"EXEC")
        if not inside:
            yield begun, gathered


def _commands(content: bytes) -> Iterator[tuple[int, list[bytes]]]:
    at = 0
    while at < len(content):
        begin = at
        kind, at = _line(content, at)
        if kind.startswith(b"#"):  # a timestamp
            continue
        assert kind.startswith(b"*"), f"no command at {begin}: {kind[:40]!r}"
        command = []
        for _ in range(int(kind[1:])):
            size, at = _line(content, at)
            command.append(content[at : at + int(size[1:])])
            at += int(size[1:]) + 2
        yield begin, command


def _line(content: bytes, at: int) -> tuple[bytes, int]:
    end = content.index(b"\r\n", at)
    return content[at:end], end + 2
