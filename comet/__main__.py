"""`python -m comet`."""

import sys

from comet.app import main

sys.exit(main(sys.argv[1:]))
