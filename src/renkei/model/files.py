"""Reading the TOML files that people write: every mistake in a file is reported at once.

A file is a tree of `Table` models. Reading it gives the models, or one `ConfigError` whose mistakes read
"path.in.file: found X, expected Y". Entries of an array of tables are counted from one: `rules#2.effect`.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from renkei.errors import ConfigError, did_you_mean

M = TypeVar("M", bound="Table")


def key_of(attribute: str) -> str:
    """Return a file's key for an attribute: in a file the unit is in the value ("2 h") and not in the name."""
    return attribute.removesuffix("_s").removesuffix("_bytes")


class Table(BaseModel):
    """One table of a file. Keys that it does not declare are refused; it cannot be changed once it was read."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=key_of,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,  # commands import models that they never use
    )


@dataclass(slots=True)
class Scope:
    """What is known about the whole file while its parts are read.

    Args:
        folder: What relative paths start from.
        raw: The file as TOML gave it.
        names: Names that the file declares, by the word for what they name: "team", "site".
    """

    folder: Path = Path()
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    names: dict[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    _seen: set[tuple[str, object]] = field(default_factory=set[tuple[str, object]])

    def is_new(self, word: str, what: object) -> bool:
        """Return whether `what` was not asked about before under this word."""
        entry = (word, what)
        if entry in self._seen:
            return False
        self._seen.add(entry)
        return True


def scope_of(info: ValidationInfo) -> Scope:
    """Return the scope of the file that is being read; an empty one for a model that is built in code."""
    return info.context if isinstance(info.context, Scope) else Scope()


def expected(what: str) -> PydanticCustomError:
    """Return the error to raise in a validator: "found X, expected `what`"."""
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def mistakes(found: Iterable[str]) -> PydanticCustomError:
    """Return the error to raise in a validator that has several mistakes to tell about one place."""
    return PydanticCustomError("mistakes", "{mistakes}", {"mistakes": list(found)})


def as_table(value: object) -> dict[str, Any]:
    """Return `value` if it is a table, else an empty one: for looking at a file that was not checked yet."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def read_bytes(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), [f"it cannot be read: {error.strerror or error}"]) from error


def read_toml(text: bytes | str, source: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Args:
        text: What is in the file.
        source: What to call it in errors.

    Raises:
        ConfigError: It is not TOML; says in which line and column.
    """
    try:
        plain = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = cast(bytes, text)[: error.start].decode(errors="replace")
        _refuse(source, before, "this is not UTF-8 text")
    try:
        return tomllib.loads(plain)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).rpartition(" (at ")
        at = re.fullmatch(r"line (\d+), column (\d+)\)", where)
        if at is None:  # "end of document"
            _refuse(source, plain, what)
        raise ConfigError(source, [f"line {at[1]}, column {at[2]}: {what}"], _SYNTAX_HINT) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of nested brackets
        raise ConfigError(source, [f"it cannot be read as TOML: {error}"], _SYNTAX_HINT) from None


def read_tables(model: type[M], raw: Mapping[str, Any], source: str, scope: Scope) -> M:
    """Return a file's tables as models.

    Args:
        model: What the file must be.
        raw: What `read_toml` returned.
        source: What to call the file in errors.
        scope: Is handed to validators; see `scope_of`.

    Raises:
        ConfigError: Lists every mistake in the file.
    """
    try:
        return model.model_validate(raw, context=scope, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [line for details in error.errors(include_url=False) for line in _lines(details, model, raw)]
        raise ConfigError(source, found) from None


_SYNTAX_HINT = "The file must be TOML: https://toml.io."

_EXPECTED = {
    "string_type": "a text in quotes",
    "string_too_short": "a text that is not empty",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list: [ … ]",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "date_type": "a date such as 2026-06-04",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_short": "at least {min_length} of them",
    "expected": "{what}",
}


def _refuse(source: str, before: str, what: str) -> NoReturn:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    raise ConfigError(source, [f"line {line}, column {column}: {what}"], _SYNTAX_HINT) from None


def _lines(error: ErrorDetails, model: type[Table], raw: Mapping[str, Any]) -> list[str]:
    kind, loc, context = error["type"], error["loc"], error.get("ctx", {})
    if kind.startswith("union_tag"):
        kind, loc = "tag", (*loc, "type")
    path, found = _place(loc, raw)
    if loc[-1] == "[key]":
        found = error["input"]
    if kind == "mistakes":
        return [f"{path}: {line}" for line in context["mistakes"]]
    if kind == "too_short" and len(cast("list[object]", found)) >= context["min_length"]:
        return []  # there are enough of them, but with mistakes of their own
    if kind == "tuple_type" and isinstance(found, dict):
        return [f"{path}: found a table, expected an array of tables, which begin with [[{path}]]"]
    text = {"missing": "nothing", "extra_forbidden": "an unknown key"}.get(kind) or shown(found)
    what = _EXPECTED[kind].format(**context) if kind in _EXPECTED else _named(error, kind, _shapes(model, loc[:-1]))
    return [f"{path}: found {text}, expected {what}"]


def _named(error: ErrorDetails, kind: str, shapes: list[type[Table]]) -> str:
    """Return what is expected where the models or the error name it."""
    fields = {info.alias or name: info for shape in shapes for name, info in shape.model_fields.items()}
    last, context = str(error["loc"][-1]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return one_of(fields, last)
    if kind == "missing":
        what = (fields[last].description if last in fields else None) or "a value"
        return f"{what[0].lower()}{what[1:].rstrip('.')}"
    if kind == "literal_error":
        return one_of(re.findall(r"'([^']*)'", context["expected"]), str(error["input"]))
    if kind == "tag":
        return one_of([str(tag) for shape in shapes for tag in _tags(shape)], str(context.get("tag")))
    return f"something else: {error['msg']}"


def one_of(words: Iterable[str], found: str) -> str:
    """Return the words that are expected, and the one that may have been meant."""
    known = list(words)
    near = did_you_mean(found, known)
    return f"{'one of ' if len(known) > 1 else ''}{', '.join(known)}{f'.{near}' if near else ''}"


def shown(value: object) -> str:
    """Return a value as mistakes show it: as it is spelt in TOML, and no longer than a line bears."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        entries = cast("list[object]", value)
        text = f"[{', '.join('a list' if isinstance(entry, list) else shown(entry) for entry in entries)}]"
        return text if len(text) <= 60 else "a list"
    if isinstance(value, date | time):
        return value.isoformat()
    text = str(value) if isinstance(value, int) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _place(loc: tuple[int | str, ...], raw: Mapping[str, Any]) -> tuple[str, object]:
    """Return a place in the file as text, and what is written there, or None.

    Parts of `loc` that stand for no key are left out.
    """
    path: str = ""
    here: Any = raw
    for i, part in enumerate(loc):
        if isinstance(here, list) and isinstance(part, int):
            path, here = f"{path}#{part + 1}", cast("list[Any]", here)[part]
        elif isinstance(here, dict) and (part in here or (i == len(loc) - 1 and part != "[key]")):
            key = str(part) if re.fullmatch(r"[\w-]+", str(part), re.ASCII) else f'"{part}"'
            path, here = f"{path}.{key}" if path else key, cast("dict[Any, Any]", here).get(part)
    return path, cast(object, here)


def _shapes(model: type[Table], loc: tuple[int | str, ...]) -> list[type[Table]]:
    """Return the models that a place in the file may be."""
    here: list[Any] = [model]
    for part in loc:
        tagged = [s for s in here if _is_model(s) and "type" in s.model_fields and part in _tags(s)]
        here = tagged or [inner for shape in here for inner in _below(shape, part)]
    return [shape for shape in here if _is_model(shape)]


def _below(shape: Any, part: int | str) -> list[Any]:
    if _is_model(shape):
        return [s for name, f in shape.model_fields.items() if (f.alias or name) == part for s in _flat(f.annotation)]
    arguments = get_args(shape)
    if get_origin(shape) is dict:
        return _flat(arguments[1])
    return _flat(arguments[0]) if get_origin(shape) is tuple else []


def _flat(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _flat(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [shape for part in get_args(annotation) for shape in _flat(part)]
    return [annotation]


def _tags(shape: type[Table]) -> tuple[Any, ...]:
    return get_args(shape.model_fields["type"].annotation)


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, Table)
