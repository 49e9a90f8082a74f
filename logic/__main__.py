"""`python -m logic`."""

import sys

from logic import app

sys.exit(app.main(sys.argv[1:]))
