"""Helpers for tests of the files that people write."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from renkei.errors import ConfigError
from renkei.model.files import Table


def keys_of(model: type[Table], prefix: str = "") -> set[str]:
    """Return every key that a file may have, as "table.key"; entries of arrays and of tables by name count once."""
    found: set[str] = set()
    for name, info in model.model_fields.items():
        key = f"{prefix}{info.alias or name}"
        tables = set(_tables(info.annotation))
        found |= {inner for table in tables for inner in keys_of(table, f"{key}.")} if tables else {key}
    return found


def _tables(annotation: Any) -> Iterator[type[Table]]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables(argument)


def changed(text: str, old: str, new: str) -> str:
    """Return `text` with `old`, which must be in it once, replaced."""
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    return text.replace(old, new)


def mistakes_of(parse: Any, *args: Any, **options: Any) -> list[str]:
    """Return the mistakes that `parse` reports."""
    with pytest.raises(ConfigError) as caught:
        parse(*args, **options)
    return caught.value.mistakes
