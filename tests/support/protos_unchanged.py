"""Part of `make lint`: the committed modules under protos/ are what `make protos` would generate, byte for byte.

Run as `python -m tests.support.protos_unchanged`; a difference is shown and the exit code is 1.
"""

import difflib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(into: Path) -> None:
    """Generate as `make protos` does (the same options, in the same order) from a copy of the .proto files."""
    (into / "protos").mkdir()
    for proto in (ROOT / "protos").glob("*.proto"):
        shutil.copy(proto, into / "protos")
    plugin = Path(sys.executable).with_name("protoc-gen-mypy_grpc")
    outputs = [f"--{kind}_out=." for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    protos = sorted(f"protos/{proto.name}" for proto in (into / "protos").glob("*.proto"))
    options = ["-I.", f"--plugin=protoc-gen-mypy_grpc={plugin}", *outputs, *protos]
    argv = [sys.executable, "-P", "-m", "grpc_tools.protoc", *options]
    done = subprocess.run(argv, cwd=into, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        sys.exit(f"protoc failed:\n{done.stdout}{done.stderr}")


def generated(folder: Path) -> dict[str, str]:
    """Return the generated files of a folder by name."""
    return {path.name: path.read_text() for pattern in GENERATED for path in folder.glob(pattern)}


def differences() -> list[str]:
    """Return how the committed files differ from fresh ones, as a diff."""
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary))
        fresh = generated(Path(temporary) / "protos")
    committed = generated(ROOT / "protos")
    return [
        line
        for name in sorted(fresh | committed)
        for line in difflib.unified_diff(
            committed.get(name, "").splitlines(),
            fresh.get(name, "").splitlines(),
            f"protos/{name}",
            "fresh",
            lineterm="",
        )
    ]


def main() -> int:
    """Show the differences; return 1 if there are any."""
    found = differences()
    if found:
        sys.stderr.write("\n".join([*found[:200], "protos/ differs from what `make protos` generates: run it", ""]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
