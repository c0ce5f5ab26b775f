"""Reading a site's policies: each by itself, so that every mistake is found and has its line.

What Cedar itself lets pass but would quietly weaken a policy is refused here too: an annotation that is not known
(a misspelt @ask would allow), `has` with a name that nothing bears and the name of nobody (both make a forbid
that never applies), and literals finer than what questions are rounded to.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

import cedarpy
from cedarpy import pst

from renkei.errors import did_you_mean
from renkei.policy._schema import LITERAL_DECIMALS, PER_RUN

ANNOTATIONS = ("id", "ask", "reason")

_TOKEN = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;|[^\s"/;]+|\S', re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PREFIX = re.compile(r"^for policy `[^`]*`, ")
_ACTION = re.compile(r' for Action::"[^"]*"')
_NOWHERE = "unable to find an applicable action given the policy scope constraints"


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """One policy of a site.

    Args:
        id: From `@id`.
        permits: Whether it is a permit.
        ask: From `@ask`: why a person has to approve; empty when nobody has to.
        reason: From `@reason`: why, for people; may be empty.
        position: Its place in the text.
        node: The policy as Cedar parsed it.
    """

    id: str
    permits: bool
    ask: str
    reason: str
    position: int
    node: pst.Template


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What policies may speak of.

    Args:
        schema: The whole schema; none when there is no procedure, and so nothing to validate against.
        attributes: Every name that `has` may ask for.
        names: By entity type, the names there are; a type that is not among them may have any.
    """

    schema: cedarpy.Schema | None
    attributes: Collection[str]
    names: Mapping[str, Collection[str]]


def read_policies(text: str, vocabulary: Vocabulary) -> tuple[list[SitePolicy], list[str]]:
    """Return the policies in `text`, and every mistake in it with its line."""
    policies: dict[str, SitePolicy] = {}
    mistakes: list[str] = []
    for line, chunk in split(text):
        try:
            node = _parse(chunk)
        except ValueError as error:
            mistakes.append(f"line {line}: {error}")
            continue
        policy = SitePolicy(
            id=node.annotations.get("id", ""),
            permits=node.effect == "permit",
            ask=node.annotations.get("ask", ""),
            reason=node.annotations.get("reason", ""),
            position=len(policies),
            node=node,
        )
        found = [*_annotation_mistakes(policy), *_node_mistakes(node, vocabulary)]
        if vocabulary.schema is not None:
            found += _schema_mistakes(chunk, vocabulary.schema)
        if policy.id in policies:
            found.append("another policy has the same @id")
        where = f"line {line}, policy '{policy.id}'" if policy.id else f"line {line}"
        mistakes += (f"{where}: {mistake}" for mistake in found)
        policies[policy.id] = policy
    return list(policies.values()), mistakes


def split(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each policy: it ends with a semicolon that is neither in a string nor in a comment."""
    start = None
    for token in _TOKEN.finditer(text):
        if token[0].startswith("//"):
            continue
        start = token.start() if start is None else start
        if token[0] == ";":
            yield text.count("\n", 0, start) + 1, text[start : token.end()]
            start = None
    if start is not None:
        yield text.count("\n", 0, start) + 1, text[start:]


def looks_at_runs(policies: Sequence[SitePolicy]) -> bool:
    """Return whether any policy may look at what differs from run to run.

    A context that is used whole (compared, put into a set) counts as looked at.
    """
    for policy in policies:
        n_context = 0
        for node in walk(policy.node):
            if node == pst.Var("context"):
                n_context += 1
            elif isinstance(node, pst.GetAttr | pst.HasAttr) and node.base == pst.Var("context"):
                n_context -= 1
                if (node.attr if isinstance(node, pst.GetAttr) else node.attrs[0]) in PER_RUN:
                    return True
        if n_context:
            return True
    return False


def walk(node: object) -> Iterator[object]:
    """Yield every node of a parsed policy."""
    stack = [node]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        elif isinstance(value, tuple):
            stack.extend(value)  # pyright: ignore[reportUnknownArgumentType]
        elif is_dataclass(value):
            yield value
            stack.extend(getattr(value, field.name) for field in fields(value))


def _parse(chunk: str) -> pst.Template:
    parsed = cedarpy.policies_to_pst(chunk)
    if parsed.templates:
        raise ValueError('templates (?principal, ?resource) are not used here; write principal == Team::"NAME"')
    (policy,) = parsed.static_policies.values()
    return policy


def _annotation_mistakes(policy: SitePolicy) -> Iterator[str]:
    annotations = policy.node.annotations
    for name in annotations:
        if name not in ANNOTATIONS:
            yield f"there is no annotation @{name}.{did_you_mean(name, ANNOTATIONS)}"
    if not _ID.fullmatch(policy.id):
        yield 'every policy needs @id("NAME") of letters, digits, dots and dashes; decisions are explained with it'
    if "ask" in annotations and not policy.permits:
        yield "@ask belongs to a permit: a forbid leaves nothing to approve"
    if "ask" in annotations and not policy.ask.strip():
        yield '@ask needs a text, @ask("why a person has to approve")'


def _node_mistakes(policy: pst.Template, vocabulary: Vocabulary) -> Iterator[str]:
    for node in walk(policy):
        if isinstance(node, pst.UnaryOp) and node.op == "decimal" and isinstance(node.arg, pst.StringLit):
            if len(node.arg.value.partition(".")[2]) > LITERAL_DECIMALS:
                yield f'decimal("{node.arg.value}") has more than {LITERAL_DECIMALS} decimals'
        elif isinstance(node, pst.HasAttr):
            for name in node.attrs:
                if name not in vocabulary.attributes:
                    yield f"nothing has an attribute '{name}'.{did_you_mean(name, vocabulary.attributes)}"
        elif isinstance(node, pst.EntityUid):
            known = vocabulary.names.get(str(node.type))
            if known is not None and node.id not in known:
                yield f"there is no {node}.{did_you_mean(node.id, known)}"


def _schema_mistakes(chunk: str, schema: cedarpy.Schema) -> Iterator[str]:
    """Yield what Cedar's validator says, the same mistake for several procedures once."""
    seen: dict[str, tuple[str, int]] = {}
    result = cedarpy.validate_policies(chunk, schema)  # pyright: ignore[reportUnknownMemberType]
    for text in sorted(_PREFIX.sub("", error.error) for error in result.errors):  # Cedar has no order of its own
        first, n = seen.get(_ACTION.sub("", text), (text, 0))
        seen[_ACTION.sub("", text)] = first, n + 1
    if len(seen) > 1:
        seen.pop(_NOWHERE, None)  # follows from the others
    for first, n in seen.values():
        yield first + (f" (and for {n - 1} more)" if n > 1 else "")
