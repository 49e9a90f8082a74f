"""The shards of a new Redis that a service without the setting uses first."""

from typing import Final

from common.shards import DEFAULT, Shards

SHARDS: Final = Shards(DEFAULT)
