"""Allocations: what a team may use at a site, what is reserved and what is spent. Double entry, folded from records."""

from renkei.accounts._books import Balance, Books, Entry, entries

__all__ = ["Balance", "Books", "Entry", "entries"]
