"""An institution's side of a run: intake, decision, reservation, execution, settlement."""

from renkei.site._offer import Offered
from renkei.site._open import offers_of, open_site
from renkei.site._runs import RunRow, Runs
from renkei.site._site import Site

__all__ = ["Offered", "RunRow", "Runs", "Site", "offers_of", "open_site"]
