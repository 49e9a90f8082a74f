"""Run the stand-in for logic."""

from tests.support.standins.standin import main

main("logic")
