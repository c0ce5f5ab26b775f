"""Agreement and site together."""

from collections.abc import Sequence

from renkei.model.rule import Rule
from renkei.policy._memo import Memo
from renkei.policy.cedar import SitePolicies
from renkei.policy.decision import Decision, combine
from renkei.policy.question import Question
from renkei.policy.rules import decide_by_rules


class Policy:
    """What a site may do under the agreement and wants to do by its own policies; may be asked from several threads.

    Args:
        agreement_rules: The rules of the agreement.
        site_policies: The site's own policies.
    """

    def __init__(self, agreement_rules: Sequence[Rule], site_policies: SitePolicies) -> None:
        self._rules = tuple(agreement_rules)
        self._site = site_policies
        self._known = Memo[tuple[str, ...], Decision]()

    @property
    def uses_parameters(self) -> bool:
        """Whether decisions depend on a run's parameters or quantity."""
        return self._site.uses_parameters

    def decide(self, question: Question) -> Decision:
        """Return the stronger of both decisions (deny beats ask beats allow), with the reasons of both if they agree.

        Agreement and site are always both asked, so that a refusal names every reason at once.
        """
        if not self._site.uses_parameters:
            return self._known.get(question.facts, lambda: self._decide(question))
        return self._decide(question)

    def _decide(self, question: Question) -> Decision:
        return combine((decide_by_rules(self._rules, question), self._site.decide(question)))
