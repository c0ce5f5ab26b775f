"""Computing: the smallest procedure there is, for tests and benchmarks. Needs no extra."""

from typing import Annotated

from annotated_types import Interval

from renkei.model.procedure import Unit, procedure


@procedure("computing.echo", version="1.0")
def echo(x: Annotated[float, Interval(ge=0, le=1), Unit("1")]) -> Annotated[float, Unit("1")]:
    """Return the input as the output `value`; what a run costs without any science in it."""
    return x
