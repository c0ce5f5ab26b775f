"""Datasets: immutable content that procedures leave behind, addressed by its digest."""

from renkei.catalog._store import DatasetStore

__all__ = ["DatasetStore"]
