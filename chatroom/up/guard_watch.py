"""The guard's own program: kills its process group when whoever started it is gone. Started by `guard.py`.

It holds the read end of a pipe whose only write end is the starter's, so the kernel itself tells of the starter's
death, SIGKILL included. Standard library only, and little of it: it must start fast and outlive everything else.
"""

import os
import signal


def main() -> None:
    """Wait for the end of standard input, then SIGKILL the group, this program with it."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
