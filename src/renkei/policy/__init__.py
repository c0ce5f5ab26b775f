"""Policies stay at the site and answer with reasons: the agreement's rules and the site's own, in Cedar."""

from renkei.policy._policy import Policy
from renkei.policy.cedar import DEFAULT_POLICY, SitePolicies
from renkei.policy.decision import Decision, combine
from renkei.policy.question import Question
from renkei.policy.rules import decide_by_rules

__all__ = [
    "DEFAULT_POLICY",
    "Decision",
    "Policy",
    "Question",
    "SitePolicies",
    "combine",
    "decide_by_rules",
]
