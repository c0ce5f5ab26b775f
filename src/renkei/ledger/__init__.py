"""Ledgers: facts are appended, hashed into a Merkle tree, checkpointed, and folded into everything else."""

from renkei.ledger._ledger import Appended, Ledger
from renkei.ledger._projection import Change, Projection, Table
from renkei.ledger._reader import Finding, LedgerReader, verify

__all__ = ["Appended", "Change", "Finding", "Ledger", "LedgerReader", "Projection", "Table", "verify"]
