"""What a site's file puts on offer: what a procedure asks for stands before what its engine is set to."""

import pytest

from renkei.executors import Resources
from renkei.model.site_file import parse_site
from renkei.site import offers_of

SITE = """
[site]
name = "us-site"
institution = "us-lab"
key = "us-lab.key"
[executor]
kind = "slurm"
{engine}
[[commands]]
name = "lab.run"
version = "1"
command = ["run"]
outputs.y = {{ type = "real" }}
{limits}
[commands.resources]
{asked}
"""


def resources(engine: str = "", limits: str = "", asked: str = "") -> Resources:
    (offer,) = offers_of(parse_site(SITE.format(engine=engine, limits=limits, asked=asked)))
    return offer.resources


@pytest.mark.parametrize(("key", "engine", "asked"), [("queue", "regular", "debug"), ("account", "m1", "m2")])
def test_what_a_procedure_asks_for_stands_before_what_the_engine_has(key: str, engine: str, asked: str) -> None:
    of_engine, of_procedure = f'{key} = "{engine}"', f'{key} = "{asked}"'
    assert getattr(resources(of_engine, asked=of_procedure), key) == asked
    assert getattr(resources(of_engine), key) == engine
    assert getattr(resources(asked=of_procedure), key) == asked
    assert getattr(resources(), key) == ""


def test_memory_is_what_is_asked_for_or_the_limit_or_what_the_engine_has() -> None:
    of_engine, limit, asked = 'memory = "1 GB"', 'memory = "2 GB"', 'memory = "3 GB"'
    assert resources(of_engine, limit, asked).memory_bytes == 3_000_000_000
    assert resources(of_engine, limit).memory_bytes == 2_000_000_000
    assert resources(of_engine).memory_bytes == 1_000_000_000
    assert resources().memory_bytes == 0


def test_everything_else_that_is_asked_for_goes_through() -> None:
    asked = 'nodes = 2\nprocesses = 8\ncores = 4\ngpus = 1\nexclusive = true\nreservation = "r"'
    assert resources(asked=asked) == Resources(2, 8, 4, 1, 0, True, "", "", "r")
