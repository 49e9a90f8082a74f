"""Run the stand-in for job."""

from tests.support.standins.standin import main

main("job")
