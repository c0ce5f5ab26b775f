"""Numbers, units, times and findings as people read them."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from renkei.model.space import Constraint, Objective, Value

NONE = "\N{EN DASH}"
"""What stands where there is nothing to say."""

_POWER = re.compile(r"\*\*(-?\d+)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNITS = {"degC": "°C", "degF": "°F", "um": "µm", "uA": "µA", "us": "µs", "ohm": "Ω", "1": "", "angstrom": "Å"}


def number(value: Value) -> str:
    """Return a number with four significant digits, other values as they are; thousands stand apart."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{value:,.0f}"
    if 1e3 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def unit(text: str) -> str:
    """Return a unit in print: `kg/m**3` as kg/m³, `degC` as °C; nothing for "1"."""
    if text in _UNITS:
        return _UNITS[text]
    return _POWER.sub(lambda match: match[1].translate(_RAISED), text).replace("*", "·")


def with_unit(value: Value, text: str) -> str:
    """Return a value with its unit."""
    return f"{number(value)} {unit(text)}".rstrip()


def duration(seconds: float) -> str:
    """Return a span of time in the unit that suits it."""
    if seconds < 1.0:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    if seconds < 7200.0:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.3g} d"


def size(n_bytes: int) -> str:
    """Return a number of bytes in the decimal unit that suits it."""
    value = float(n_bytes)
    for name in ("B", "kB", "MB", "GB"):
        if value < 1000.0:
            return f"{value:.3g} {name}"
        value /= 1000.0
    return f"{value:,.3g} TB"


def moment(seconds: float) -> str:
    """Return a moment in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def count(n: int, noun: str, plural: str = "") -> str:
    """Return `1 trial`, `2 trials`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {plural or noun + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def shortened(text: str, most: int) -> str:
    """Return text of at most so many characters, with an ellipsis where it was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def aim(objective: Objective) -> str:
    """Return what an objective is after, for example `hardness ≥ 9 GPa`."""
    if objective.reach is None:
        if objective.goal == "target" and objective.target is not None:
            return f"{objective.output} near {with_unit(objective.target, objective.unit)}"
        return f"{'highest' if objective.goal == 'maximize' else 'lowest'} {objective.output}"
    reach = with_unit(objective.reach, objective.unit)
    if objective.goal == "target" and objective.target is not None:
        return f"{objective.output} within {reach} of {with_unit(objective.target, objective.unit)}"
    return f"{objective.output} {'≥' if objective.goal == 'maximize' else '≤'} {reach}"


def bounds(constraint: Constraint) -> str:
    """Return what a constraint demands, for example `2 ≤ density ≤ 9 g/cm³`."""
    if math.isinf(constraint.upper):
        return f"{constraint.output} ≥ {with_unit(constraint.lower, constraint.unit)}"
    low = "" if math.isinf(constraint.lower) else f"{number(constraint.lower)} ≤ "
    return f"{low}{constraint.output} ≤ {with_unit(constraint.upper, constraint.unit)}"


def outputs_shown(outputs: Mapping[str, float], objectives: Sequence[Objective]) -> str:
    """Return the objectives' outputs of a trial: `hardness 9.1 GPa and density 8 g/cm³`."""
    known = [o for o in objectives if o.output in outputs]
    return listed([f"{o.output} {with_unit(outputs[o.output], o.unit)}" for o in known])
