"""Commands whose code is imported when they are used, and not to show that they exist."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand


class LazyCommand(TyperCommand):
    """Stands for a command in its parent's help; another takes its place once it is called."""

    def __init__(self, name: str, summary: str, load: Callable[[], Any]) -> None:
        super().__init__(name, help=summary)
        self._load = load

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return the context of the command that this one stands for; what follows goes by that context's command."""
        return self._load().make_context(info_name, args, parent=parent, **extra)


def new_app() -> typer.Typer:
    """Return what the verbs of a noun are added to."""
    return typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")


def add_noun(root: Any, name: str, summary: str) -> None:
    """Add `renkei NAME`, whose verbs are those of the Typer `app` in the module `renkei.cli.NAME`."""

    def load() -> Any:
        group = typer.main.get_command(import_module(f"renkei.cli.{name}").app)
        group.help = summary
        return group

    root.add_command(LazyCommand(name, summary, load))


def add_command(root: Any, name: str, summary: str) -> None:
    """Add `renkei NAME`, which is the function NAME of the module `renkei.cli.NAME`, if there is such a module."""

    def load() -> Any:
        app = new_app()
        app.command(name)(getattr(import_module(f"renkei.cli.{name}"), name))
        return typer.main.get_command(app)

    if find_spec(f"renkei.cli.{name}") is not None:
        root.add_command(LazyCommand(name, summary, load))
