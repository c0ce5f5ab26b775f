"""Reading TOML: syntax errors, paths of mistakes, and what a table is."""

from pathlib import Path

import pytest
from file_keys import mistakes_of
from pydantic import Field, ValidationError

from renkei.errors import ConfigError, UsageError
from renkei.model.fields import Amount, Duration, Many, Size, Text, parse_size
from renkei.model.files import Scope, Table, key_of, read_bytes, read_tables, read_toml, shown

DURATION = "expected a duration such as '90 s', '15 min' or '2 h'"
SIZE = "expected a size such as '2 GB' or '512 MiB'"


class Inner(Table):
    """An inner table."""

    text: Text = Field(description="Some text.")
    limit_s: Duration | None = Field(default=None, description="A time.")
    room_bytes: Size | None = Field(default=None, description="A size.")


class Outer(Table):
    """A file."""

    inner: Inner | None = Field(default=None, description="A table.")
    many: Many[Inner] = Field(default=(), min_length=1, description="Tables.")
    number: float = Field(default=1.0, gt=0, le=9, description="A number.")
    flag: bool = Field(default=False, description="A flag.")
    whole: int = Field(default=1, description="A whole number.")
    even: int = Field(default=2, multiple_of=2, description="An even number.")
    use: Amount | None = Field(default=None, description="A quantity.")


def mistakes(text: str) -> list[str]:
    return mistakes_of(read_tables, Outer, read_toml(text, "f"), "f", Scope())


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a = \n", "line 1, column 5: Invalid value"),
        ("ok = 1\n[t\n", "line 2, column 3: Expected ']' at the end of a table declaration"),
        ("a = 1\na = 2", "line 2, column 6: Cannot overwrite a value"),
        ("x = [1,\n2", "line 2, column 2: Unclosed array"),
        (b"ok = 1\na = '\xff'", "line 2, column 6: this is not UTF-8 text"),
        ("d = 2026-02-30", "line 1, column 5: Invalid date or datetime"),
        ("x = " + "[" * 5000, "it cannot be read as TOML: maximum recursion depth exceeded"),
    ],
)
def test_a_syntax_error_says_where_it_is(text: str | bytes, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml(text, "some.toml")
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith(mistake)
    assert "some.toml has 1 mistake" in str(caught.value)


def test_a_number_of_thousands_of_digits_is_a_mistake_in_the_file() -> None:
    found = mistakes_of(read_toml, "x = " + "9" * 5000, "f")
    assert found[0].startswith("it cannot be read as TOML: Exceeds the limit")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_toml(b"\xef\xbb\xbfa = 1", "f") == read_toml("\ufeffa = 1", "f") == {"a": 1}


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes_of(read_bytes, tmp_path / "none.toml") == ["it cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("inner = 3", "inner: found 3, expected a table"),
        ("many = 3", "many: found 3, expected a list: [ … ]"),
        ("many = []", "many: found [], expected at least 1 of them"),
        ("[[many]]", "many#1.text: found nothing, expected some text"),
        ("[[many]]\ntext = ''", "many#1.text: found '', expected a text that is not empty"),
        ("[[many]]\ntext = 'a'\n[[many]]\ntext = 2", "many#2.text: found 2, expected a text in quotes"),
        ("inner = { text = 'a', limit = 5 }", f"inner.limit: found 5, {DURATION}"),
        ("inner = { text = 'a', limit = '0 s' }", f"inner.limit: found '0 s', {DURATION}"),
        ("inner = { text = 'a', room = 2 }", f"inner.room: found 2, {SIZE}"),
        ("inner = { text = 'a', room = '2 Gb' }", f"inner.room: found '2 Gb', {SIZE}"),
        (
            "inner = { text = 'a', limit_s = '1 s' }",
            "inner.limit_s: found an unknown key, expected one of text, limit, room. Did you mean 'limit'?",
        ),
        ("number = '1'", "number: found '1', expected a number"),
        ("number = true", "number: found true, expected a number"),
        ("number = nan", "number: found nan, expected a finite number"),
        ("number = 0", "number: found 0, expected a number above 0"),
        ("number = 10", "number: found 10, expected a number of at most 9"),
        ("flag = 1", "flag: found 1, expected true or false"),
        ("even = 3", "even: found 3, expected something else: Input should be a multiple of 2"),
        ("use = 40", "use: found 40, expected a quantity such as '40 node-hour'"),
        ("many = {}", "many: found a table, expected an array of tables, which begin with [[many]]"),
        ("whole = 1.0", "whole: found 1.0, expected a whole number"),
        ("whole = [1, {}]", "whole: found [1, a table], expected a whole number"),
        ("whole = [[[1]]]", "whole: found [a list], expected a whole number"),
        ("whole = " + "[" * 400 + "]" * 400, "whole: found [a list], expected a whole number"),
        ("whole = 12:30:00", "whole: found 12:30:00, expected a whole number"),
        ('"a b" = 1', '"a b": found an unknown key, expected one of inner, many, number, flag, whole, even, use'),
    ],
)
def test_a_mistake_says_where_what_was_found_and_what_is_expected(text: str, mistake: str) -> None:
    assert mistakes(text) == [mistake]


def test_an_unknown_key_is_named_with_the_one_that_was_meant() -> None:
    assert mistakes("[inner]\ntex = 'a'") == [
        "inner.text: found nothing, expected some text",
        "inner.tex: found an unknown key, expected one of text, limit, room. Did you mean 'text'?",
    ]


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Inner(text="a").text = "b"  # type: ignore[misc]


def test_units_are_in_the_names_of_attributes_and_in_the_values_of_files() -> None:
    raw = read_toml("inner = { text = 'a', limit = '2 min', room = '2 kB' }", "f")
    outer = read_tables(Outer, raw, "f", Scope())
    assert outer.inner == Inner(text="a", limit_s=120.0, room_bytes=2000)
    assert [key_of(name) for name in ("limit_s", "room_bytes", "rules")] == ["limit", "room", "rules"]


def test_a_long_value_is_shown_shortened() -> None:
    assert len(shown("x" * 200)) < 61
    assert shown(["x" * 20] * 20) == "a list"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("2 GB", 2 * 10**9),
        ("1.5MB", 1_500_000),
        ("512 MiB", 512 * 2**20),
        ("64 kB", 64_000),
        ("8 B", 8),
        ("1 TiB", 2**40),
    ],
)
def test_sizes_are_read_as_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "2", "GB", "2 G", "-2 GB", "2 iB", "2 GB x", "1e3 kB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)
