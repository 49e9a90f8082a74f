"""Part of `make lint`: the JavaScript client is what its index.d.ts declares, as the TypeScript compiler checks it.

Without npm the check is left out, and a line says what to install. In CI that is a failure.
"""

import os
import sys

from tests.support import npm


def main() -> int:
    """Compile without output; return the exit code."""
    if not npm.found():
        sys.stderr.write(f"clients/javascript is NOT checked: {npm.MISSING}\n")
        return 1 if os.environ.get("CI") else 0
    done = npm.tsc("--project", ".", cwd=npm.CLIENT)
    sys.stderr.write(f"{done.stdout}{done.stderr}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
