"""Stand-ins for batch systems that are not at hand: separate programs with the commands of PBS Pro, PJM and Flux.

They run job scripts as real processes of this machine, with a queue, slots, time limits, exit codes and signals,
and can be told to fail in the ways of the real ones. What their answers look like is said in each module, with
where it is known from: D documented, C captured from a live system, K known only by hearsay.

They are run with nothing but Python's standard library, outside of the process that tests them.
"""

from renkei.testing.standins._control import StandIn

__all__ = ["StandIn"]
