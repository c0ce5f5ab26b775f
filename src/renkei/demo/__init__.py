"""The demonstration: an illustrative U.S.-Japanese partnership, five embedded sites, three joint campaigns."""

from renkei.demo._build import CAMPAIGNS, build

__all__ = ["CAMPAIGNS", "build"]
