"""Run the stand-in for comet."""

from tests.support.standins.standin import main

main("comet")
