"""What the commands that submit jobs have in common."""

import math
import re
from collections.abc import Collection, Mapping

from renkei.errors import SubmitRejected
from renkei.executors._port import Resources

_RESOURCE = re.compile(r"[A-Za-z][\w.-]*")


def hms(seconds: float) -> str:
    """Return a time limit as H:MM:SS, rounded up to whole seconds."""
    whole = max(1, math.ceil(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def mebibytes(size_bytes: int) -> int:
    """Return a size in MiB, rounded up."""
    return math.ceil(size_bytes / (1 << 20))


def processes_of_nodes(resources: Resources) -> list[tuple[int, int]]:
    """Return how many nodes get how many processes each, the fuller ones first: [(1, 3), (2, 2)] for 7 on 3.

    Raises:
        SubmitRejected: There are fewer processes than nodes.
    """
    nodes, processes = resources.nodes, resources.processes
    if processes < nodes:
        raise SubmitRejected(
            f"{processes} processes cannot be spread over {nodes} nodes.", "Ask for a process a node at least."
        )
    each, rest = divmod(processes, nodes)
    return [(n, size) for n, size in ((rest, each + 1), (nodes - rest, each)) if n]


def extra_options(
    extra: Mapping[str, str], resource_option: str, taken: Collection[str], free: Collection[str]
) -> list[str]:
    """Return `Resources.extra` as words. Who asks for a run need not be trusted with the whole command.

    Args:
        extra: By the name of an option, with or without its dashes, or by that of a resource.
        resource_option: The option that asks for resources: "-l" or "-L"; "" where there is none.
        taken: Resources that renkei asks for itself.
        free: The options that a job may bring.

    Raises:
        SubmitRejected: It may not ask for that.
    """
    words: list[str] = []
    for name, value in extra.items():
        plain(value, name)
        option = next((word for word in (name, f"-{name}", f"--{name}") if word in free), "")
        if option:
            words += [f"{option}={value}"] if option.startswith("--") else [option, value]
        elif resource_option and _RESOURCE.fullmatch(name) and name not in taken:
            words += [resource_option, f"{name}={value}"]
        else:
            raise SubmitRejected(f"A job cannot ask for '{name}'.")
    return words


def plain(value: str, name: str) -> str:
    """Return a value that is one value of one option and nothing else.

    Raises:
        SubmitRejected: It is not.
    """
    if not value or "," in value or not value.isprintable():
        raise SubmitRejected(f"'{value}' cannot be asked for as {name}.")
    return value


def no_reservations(resources: Resources, title: str) -> None:
    """Refuse a reservation where the batch system has none.

    Raises:
        SubmitRejected: One is asked for.
    """
    if resources.reservation:
        raise SubmitRejected(f"{title} has no reservations, but '{resources.reservation}' is asked for.")
