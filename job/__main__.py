"""`python -m job`."""

import sys

from job import app

sys.exit(app.main(sys.argv[1:]))
