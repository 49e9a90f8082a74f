"""Comet's settings for tests, checked as those of an operator are."""

from comet.config import Settings


def comet_settings(**chosen: object) -> Settings:
    """Return the defaults but for what is chosen."""
    return Settings.model_validate(chosen)
