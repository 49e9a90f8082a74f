"""Comet's settings for tests, checked as those of an operator are."""

from comet.config import CometSettings


def comet_settings(**chosen: object) -> CometSettings:
    """Return the defaults but for what is chosen."""
    return CometSettings.model_validate(chosen)
