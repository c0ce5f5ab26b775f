"""What people ask of a site while another process has it open."""

from collections.abc import Mapping

from renkei.errors import UsageError
from renkei.site import Site


async def answer_at(site: Site, verb: str, arguments: Mapping[str, str]) -> str:
    """Do at a site what another command asks for; return one line for people.

    Raises:
        UsageError: It cannot be done, or is nothing that can be asked.
    """
    run, by = arguments.get("run", ""), arguments.get("by", "")
    match verb:
        case "approve" | "deny":
            state = await site.decide(run, by, verb == "approve", arguments.get("note", ""))
            return f"Run {run} is {state}."
        case "cancel":
            await site.cancel_run(run, by)
            return f"Run {run} is being cancelled."
        case _:
            raise UsageError(f"'{verb}' is nothing that can be asked.")
