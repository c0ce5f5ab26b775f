"""The library of measured photovoltaic blends."""

import csv
import importlib.util
import math
from pathlib import Path

import pytest

from renkei.model.procedure import outputs_of, procedure_of
from renkei.science import autolab

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("olympus") is None, reason="needs the extra autolab: pip install 'renkei[autolab]'"
)


def test_pool_holds_every_different_blend_once() -> None:
    pool = autolab.pool()
    assert len(pool) == 1020
    assert len({tuple(point.values()) for point in pool}) == 1020
    assert all(tuple(point) == autolab.PARAMETERS for point in pool)
    assert all(math.isclose(sum(point.values()), 1.0, abs_tol=1e-9) for point in pool)


def test_every_blend_of_the_pool_was_measured_and_together_they_are_all_films() -> None:
    found = procedure_of(autolab.photovoltaic_blend)
    assert found is not None
    results = [autolab.photovoltaic_blend(**point) for point in autolab.pool()]
    numbers = [outputs_of(result, found.spec)[0] for result in results]
    assert all(found.spec.problems(point) == [] for point in autolab.pool())
    assert sum(result.samples for result in results) == 1040
    assert min(n["degradation"] for n in numbers) == pytest.approx(0.001622641)
    assert max(n["degradation"] for n in numbers) < 1


def test_films_of_one_blend_are_averaged() -> None:
    blend = autolab.photovoltaic_blend(pce10=0.08, p3ht=0.3, pcbm=0.6, oidtbr=0.02)
    assert blend.samples == 2
    assert blend.degradation == pytest.approx((0.082942439 + 0.069949607) / 2)


def test_fraction_with_rounding_error_finds_its_blend() -> None:
    exact = autolab.photovoltaic_blend(pce10=0.3, p3ht=0.7, pcbm=0.0, oidtbr=0.0)
    assert autolab.photovoltaic_blend(pce10=0.1 + 0.2, p3ht=1 - 0.3, pcbm=0.0, oidtbr=1e-12) == exact


@pytest.mark.parametrize("blend", [(0.5, 0.5, 0.5, 0.0), (0.31, 0.69, 0.0, 0.0), (math.nan, 0.0, 0.0, 1.0)])
def test_blend_that_was_never_made_is_the_requesters_mistake(blend: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no film of the blend"):
        autolab.photovoltaic_blend(*blend)


def test_written_pool_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    assert autolab.write_pool(path) == 1020
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    assert rows == autolab.pool()
