"""Pools: spaces whose only points are the samples of a library."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from file_keys import mistakes_of

from renkei.errors import ConfigError, UsageError
from renkei.model.pool import MAX_POINTS, PoolReference, is_reference, read_pool, resolve_pool, space_of_points
from renkei.model.space import Choice, Integer, Real, Space


def pool(folder: Path, text: str, **units: str) -> Space:
    path = folder / "samples.csv"
    path.write_bytes(text.encode())
    return read_pool(path, units)


def mistakes(folder: Path, text: str, **units: str) -> list[str]:
    return mistakes_of(pool, folder, text, **units)


def test_columns_become_parameters_and_rows_points(tmp_path: Path) -> None:
    text = (
        '\ufefftemperature, count ,solvent,dry\r\n300.5,1,water,true\r\n1e2,-3,"a, b",false\r\n.5,7,water,true\r\n\r\n'
    )
    assert pool(tmp_path, text, temperature="K") == Space(
        (
            Real("temperature", 0.5, 300.5, "K"),
            Integer("count", -3, 7),
            Choice("solvent", ("water", "a, b")),
            Choice("dry", (True, False)),
        ),
        (
            {"temperature": 300.5, "count": 1, "solvent": "water", "dry": True},
            {"temperature": 100.0, "count": -3, "solvent": "a, b", "dry": False},
            {"temperature": 0.5, "count": 7, "solvent": "water", "dry": True},
        ),
    )


def test_a_column_with_whole_numbers_and_others_is_real_throughout(tmp_path: Path) -> None:
    space = pool(tmp_path, "x\n1\n2.0\n")
    assert space == Space((Real("x", 1.0, 2.0),), ({"x": 1.0}, {"x": 2.0}))
    assert all(type(point["x"]) is float for point in space.pool or ())


def test_a_column_with_one_word_in_it_is_a_choice_of_texts(tmp_path: Path) -> None:
    assert pool(tmp_path, "x\n1\nnan\nB\n").parameters == (Choice("x", ("1", "nan", "B")),)


def test_all_mistakes_of_a_pool_are_reported_at_once_with_their_rows(tmp_path: Path) -> None:
    text = "a,b,c\n1.5,2,x\n2.5,3\n,3,y\nnan,3,y\n1.5,2.0,x\n\n-inf,9,z\n1.5,2,x\n\n\n"
    assert mistakes(tmp_path, text, c="K", d="K") == [
        "row 3: found 2 cells, expected 3",
        "row 4, a: found an empty cell, expected a value",
        "row 7: found 0 cells, expected 3",
        "row 5, a: found nan, expected a finite number or a text",
        "row 6: found the same point as in row 2, expected every point once",
        "row 8, a: found -inf, expected a finite number or a text",
        "row 9: found the same point as in row 2, expected every point once",
        "units.c: found a unit of what is not a number everywhere: 'x'",
        "units.d: found an unknown parameter, expected one of a, b, c",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "row 1: found nothing, expected the names of the parameters"),
        (",,\n1,2,3\n", "row 1: found nothing, expected the names of the parameters"),
        ("a,,b\n1,2,3\n2,3,4\n", "row 1: found no name for column 2, expected one"),
        ("a,b,a\n1,2,3\n2,3,4\n", "row 1: found 'a' twice, expected every name once"),
        ("a\n", "found 0 points, expected 2 to 100000"),
        ("a\n1\n", "found 1 points, expected 2 to 100000"),
        (
            "a,b\n1,2\n1,3\n",
            "a: found 1 everywhere, expected at least two values; leave it out and give it to every source of the"
            " campaign as fixed = { … }",
        ),
        ('a\n"1\n', "it cannot be read as CSV in UTF-8: unexpected end of data"),
    ],
)
def test_what_is_no_pool_is_refused(tmp_path: Path, text: str, mistake: str) -> None:
    assert mistakes(tmp_path, text) == [mistake]


def test_a_number_of_thousands_of_digits_is_a_mistake_in_the_pool(tmp_path: Path) -> None:
    found = mistakes(tmp_path, f"a\n1\n{'9' * 5000}\n")
    assert found == ["row 3, a: found inf, expected a finite number or a text"]


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(b"a\n\xff\n1\n")
    found = mistakes_of(read_pool, tmp_path / "samples.csv", {})
    assert found[0].startswith("it cannot be read as CSV in UTF-8: 'utf-8' codec can't decode byte 0xff")


def test_a_long_list_of_mistakes_is_cut(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "a,b\n" + "1\n" * 60)
    assert len(found) == 51
    assert found[-1] == "and 10 more mistakes like these"


def test_a_pool_has_a_largest_size() -> None:
    points = [{"x": i} for i in range(MAX_POINTS + 1)]
    assert space_of_points(points[:-1], {}, "here").parameters == (Integer("x", 0, MAX_POINTS - 1),)
    assert mistakes_of(space_of_points, points, {}, "here") == ["found 100001 points, expected 2 to 100000"]


class Scalar:
    """Like numpy's own bool: no number and no bool, but with one inside."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def item(self) -> bool:
        return self._value


Scalar.__name__ = "bool"


def points_of_a_package() -> list[dict[str, Any]]:
    return [
        {"x": Fraction(1, 2), "n": 3, "s": "a", "f": Scalar(True)},
        {"x": 2, "n": 4, "s": "b", "f": Scalar(False)},
    ]


def broken_points() -> list[Any]:
    return [{"x": 1.0, "y": 2}, {"x": 1.0}, 5, {"x": None, "y": 2}, {"x": 1.0, "y": 2}, {"x": 2**63, "y": 2}]


def failing() -> list[Any]:
    raise RuntimeError("no data")


def test_a_pool_of_a_package_is_resolved_on_demand() -> None:
    space = resolve_pool(PoolReference(f"python:{__name__}:points_of_a_package", {"x": "m"}))
    assert space == Space(
        (Real("x", 0.5, 2.0, "m"), Integer("n", 3, 4), Choice("s", ("a", "b")), Choice("f", (True, False))),
        ({"x": 0.5, "n": 3, "s": "a", "f": True}, {"x": 2.0, "n": 4, "s": "b", "f": False}),
    )
    assert space.pool is not None
    assert [type(v) for v in space.pool[1].values()] == [float, int, str, bool]


def test_mistakes_of_a_package_s_points_are_reported_at_once() -> None:
    assert mistakes_of(resolve_pool, PoolReference(f"python:{__name__}:broken_points")) == [
        "point 2: found a table, expected a table of x, y",
        "point 3: found 5, expected a table of x, y",
        "point 4, x: found None, expected a finite number or a text",
        "point 5: found the same point as in point 1, expected every point once",
        "point 6, x: found 9223372036854775808, expected a finite number or a text",
    ]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("python:not.there:f", "cannot be found: No module named 'not'"),
        (f"python:{__name__}:nothing", "cannot be found: module .* has no attribute 'nothing'"),
        (f"python:{__name__}:failing", "failed: RuntimeError: no data"),
        ("samples.csv", "is not a reference to a pool"),
    ],
)
def test_a_pool_that_cannot_be_resolved_says_why(reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_pool(PoolReference(reference))


def test_an_empty_pool_of_a_package_is_refused() -> None:
    with pytest.raises(ConfigError, match="found 0 points"):
        space_of_points([], {}, "here")


def test_how_a_reference_is_spelt() -> None:
    assert is_reference("python:renkei.science:points")
    assert not any(is_reference(text) for text in ("python:a", "python:a:b:c", "a.csv", "python:a b:c", "python:a:b c"))
