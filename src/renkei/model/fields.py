"""Types of the values that people write into files, with how each is spelt."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, Strict, ValidationInfo
from pydantic.types import StringConstraints

from renkei.errors import UsageError, did_you_mean
from renkei.model.files import as_table, expected, one_of, scope_of, shown
from renkei.model.procedure import NAME
from renkei.model.quantity import Quantity, parse_duration
from renkei.model.space import Value
from renkei.units import ALLOCATION_UNITS, check

T = TypeVar("T")

KEY_PREFIX = "renkei1:"
"""What the text of a public key begins with."""

LARGEST_INTEGER = 2**63
"""Whole numbers stay below this, so that they fit into 64 bits wherever they are sent."""

_LONGEST_NAME = 100  # folders are called after names
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kKMGT])(i?))?B\s*")
_POWERS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_PATTERN = re.compile(r"[a-z0-9.*?\[\]!-]+")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes of "2 GB", "512 MiB" or "64 kB": GB counts in thousands, GiB in 1024s.

    Raises:
        UsageError: It is not a number and a known unit of size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a size.", "Write a number and a unit: '2 GB', '512 MiB'.")
    power = _POWERS[match[2]] if match[2] else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def known(word: str) -> AfterValidator:
    """Return the check that a name is one of those that the file declares for `word`, for example "team"."""

    def validate(value: str, info: ValidationInfo) -> str:
        names = scope_of(info).names.get(word)
        if names is None or value in names or any(c in value for c in "*?["):
            return value
        article = "an" if word[0] in "aeiou" else "a"
        raise expected(f"the name of {article} {word} in this file.{did_you_mean(value, names)}".removesuffix("."))

    return AfterValidator(validate)


def declares(word: str) -> BeforeValidator:
    """Return the step that remembers the keys of a table as the names that `known` accepts further down the file."""

    def remember(value: object, info: ValidationInfo) -> object:
        scope_of(info).names[word] = tuple(as_table(value))
        return value

    return BeforeValidator(remember)


def new(word: str) -> AfterValidator:
    """Return the check that a value is there only once in the file, among all that are checked for `word`."""

    def validate(value: T, info: ValidationInfo) -> T:
        if scope_of(info).is_new(word, value):
            return value
        raise expected(f"another one: there already is this {word}")

    return AfterValidator(validate)


def _name(value: str) -> str:
    if NAME.fullmatch(value) and len(value) <= _LONGEST_NAME:
        return value
    raise expected(f"a name: at most {_LONGEST_NAME} lower-case letters, digits, '-' and '.', beginning with a letter")


def _pattern(value: str) -> str:
    if _PATTERN.fullmatch(value):
        return value
    raise expected("a name or a pattern such as 'fusion.*'")


def _identifier(value: str) -> str:
    if value.isascii() and value.isidentifier():
        return value
    raise expected("letters, digits and '_', beginning with a letter")


def _public_key(value: str) -> str:
    if value.startswith(KEY_PREFIX) and len(value) > len(KEY_PREFIX) and not re.search(r"\s", value):
        return value
    raise expected(f"a public key, which begins with '{KEY_PREFIX}'")


def _url(value: str) -> str:
    if re.fullmatch(r"https?://[^\s/]+\S*", value):
        return value
    raise expected("an address such as 'https://site.example.org'")


def _physical_unit(value: str) -> str:
    try:
        return check(value)
    except UsageError as error:
        raise expected("a unit such as 'K', 'kA', 'mmol/g/h' or '1'") from error


def _allocation_unit(value: str) -> str:
    if value in ALLOCATION_UNITS:
        return value
    raise expected(one_of(ALLOCATION_UNITS, value))


def _amount(value: object) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if not isinstance(value, str):
        raise expected("a quantity such as '40 node-hour'")
    try:
        return Quantity.parse(value)
    except UsageError as error:
        raise expected(f"a quantity such as '40 node-hour'. {error}") from error


def _from_text(parse: Callable[[str], float], what: str) -> Callable[[object, ValidationInfo], object]:
    """Return a check that reads text into a number above zero; in code, outside a file, the number itself will do."""

    def validate(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str) and info.context is None:
            return value
        try:
            number = parse(value) if isinstance(value, str) else 0
        except UsageError as error:
            raise expected(what) from error
        if not 0 < number < math.inf:
            raise expected(what)
        return number

    return validate


def _file_path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, str | Path) and str(value):
        return scope_of(info).folder / value
    raise expected("the path of a file or folder")


def _code(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith(".py")):
        return scope_of(info).folder / value
    if isinstance(value, str) and _MODULE.fullmatch(value):
        return value
    raise expected("a Python module such as 'renkei.science.fusion' or a file such as 'mylab.py'")


def _scalar(value: object) -> Value:
    if isinstance(value, str | bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and abs(value) < LARGEST_INTEGER:
        return value
    raise expected("a text, a finite number, true or false")


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise expected(f"every entry once, but {shown(value)} is there twice")
    return values


def _as_list(value: object) -> object:
    return cast(object, value) if isinstance(value, list | tuple) else [value]


Text = Annotated[str, StringConstraints(min_length=1)]
"""Text that is not empty."""

Name = Annotated[str, AfterValidator(_name)]
"""A name of a site, team, institution, party, procedure or campaign."""

Pattern = Annotated[str, AfterValidator(_pattern)]
"""A name, or a shell pattern of names."""

Identifier = Annotated[str, AfterValidator(_identifier)]
"""A name of a procedure's parameter or output, as Python spells it."""

PublicKeyText = Annotated[str, AfterValidator(_public_key)]
"""The text of a public key; only its beginning is checked."""

Url = Annotated[str, AfterValidator(_url)]
"""An address that begins with http:// or https://."""

PhysicalUnit = Annotated[str, AfterValidator(_physical_unit)]
"""A unit that pint knows, or "1"."""

AllocationUnit = Annotated[str, AfterValidator(_allocation_unit)]
"""One of `renkei.units.ALLOCATION_UNITS`."""

Amount = Annotated[Quantity, PlainValidator(_amount), PlainSerializer(str)]
"""A quantity of an allocation, written as "40 node-hour"."""

Duration = Annotated[float, BeforeValidator(_from_text(parse_duration, "a duration such as '90 s', '15 min' or '2 h'"))]
"""Seconds, written as "90 s", "15 min" or "2 h"."""

Size = Annotated[int, BeforeValidator(_from_text(parse_size, "a size such as '2 GB' or '512 MiB'"))]
"""Bytes, written as "2 GB" or "512 MiB"."""

FilePath = Annotated[Path, PlainValidator(_file_path), PlainSerializer(str)]
"""A path; a relative one starts from the folder of the file that it is written in."""

Code = Annotated[Path | str, PlainValidator(_code), PlainSerializer(str)]
"""A Python module, or a Python file (`Path`)."""

Scalar = Annotated[Value, PlainValidator(_scalar)]
"""A value of a parameter."""

Many = Annotated[tuple[T, ...], Strict(False)]
"""A TOML array."""

Distinct = Annotated[tuple[T, ...], Strict(False), AfterValidator(_distinct)]
"""A TOML array without repetitions."""

OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_as_list), Strict(False), AfterValidator(_distinct)]
"""A TOML array without repetitions, or its only entry."""
