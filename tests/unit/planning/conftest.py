"""Imports torch and botorch as planners do: their deprecation warnings of each other are not for our users."""

from renkei.planning.bayesian import _import_models  # pyright: ignore[reportPrivateUsage]

_import_models()
