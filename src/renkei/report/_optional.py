"""Packages that only reports need, which an installation may lack."""

from importlib.util import find_spec

from renkei.errors import UsageError


def require(*packages: str) -> None:
    """Check that packages are installed.

    Raises:
        UsageError: One is not.
    """
    for package in packages:
        if find_spec(package) is None:
            raise UsageError(
                f"Reports need a package that is not installed: {package}.",
                "Install it with: pip install 'renkei[report]'.",
            )
