"""The Merkle tree, against the definition of RFC 6962 and against every kind of forgery."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from renkei.ledger.merkle import (
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([i])) for i in range(70)]
sizes = st.integers(1, len(LEAVES))


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if len(leaves) == 0:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def forged(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    how = data.draw(st.sampled_from(["flip", "drop", "add"] if proof else ["add"]))
    at = data.draw(st.integers(0, max(0, len(proof) - 1)))
    if how == "add":
        return [*proof[:at], data.draw(st.sampled_from(LEAVES)), *proof[at:]]
    if how == "drop":
        return proof[:at] + proof[at + 1 :]
    bit = data.draw(st.integers(0, 255))
    changed = int.from_bytes(proof[at], "big") ^ (1 << bit)
    return [*proof[:at], changed.to_bytes(32, "big"), *proof[at + 1 :]]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_root_is_the_one_that_the_rfc_defines(records: list[bytes]) -> None:
    leaves = [leaf_hash(record) for record in records]
    assert root_of(leaves) == defined_root(leaves)


@given(st.lists(st.integers(0, 40), max_size=6))
def test_many_leaves_at_once_make_the_tree_that_they_make_one_by_one(counts: list[int]) -> None:
    tree, again, n = Tree(), Tree(), 0
    for count in counts:
        leaves = [leaf_hash(str(n + i).encode()) for i in range(count)]
        n += count
        tree.extend(leaves)
        for leaf in leaves:
            again.append(leaf)
        assert (tree.size, tree.hashes, tree.root()) == (n, again.hashes, again.root())


@given(sizes, sizes)
def test_a_restored_tree_goes_on_as_if_nothing_had_happened(first: int, more: int) -> None:
    tree = Tree()
    for leaf in LEAVES[:first]:
        tree.append(leaf)
    again = Tree.restore(tree.size, tree.hashes)
    for leaf in LEAVES[:more]:
        tree.append(leaf)
        again.append(leaf)
    assert (again.size, again.hashes, again.root()) == (tree.size, tree.hashes, tree.root())


@given(st.data())
def test_every_leaf_is_proved_at_its_place_and_nowhere_else(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    root, proof = root_of(LEAVES[:size]), inclusion_proof(LEAVES, index, size)
    assert verify_inclusion(LEAVES[index], index, size, proof, root)
    assert verify_inclusion(LEAVES[index], other, size, proof, root) == (index == other)
    assert verify_inclusion(LEAVES[other], index, size, proof, root) == (index == other)


@given(st.data())
def test_a_forged_inclusion_proof_fails(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    proof = forged(inclusion_proof(LEAVES, index, size), data)
    assert not verify_inclusion(LEAVES[index], index, size, proof, root_of(LEAVES[:size]))


@given(sizes, sizes)
def test_every_tree_is_proved_a_prefix_of_every_later_one(a: int, b: int) -> None:
    old, new = sorted((a, b))
    proof = consistency_proof(LEAVES, old, new)
    assert verify_consistency(old, root_of(LEAVES[:old]), new, root_of(LEAVES[:new]), proof)


@given(st.data())
@settings(max_examples=200)
def test_a_rewritten_history_is_not_consistent(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, len(LEAVES)))
    old = data.draw(st.integers(1, new - 1))
    at = data.draw(st.integers(0, old - 1))
    rewritten = [*LEAVES[:at], leaf_hash(b"rewritten"), *LEAVES[at + 1 :]]
    before, after = root_of(LEAVES[:old]), root_of(rewritten[:new])
    assert not verify_consistency(old, before, new, after, consistency_proof(rewritten, old, new))
    assert not verify_consistency(old, before, new, after, consistency_proof(LEAVES, old, new))


@given(st.data())
def test_a_forged_consistency_proof_fails(data: st.DataObject) -> None:
    new = data.draw(sizes)
    old = data.draw(st.integers(1, new))
    proof = forged(consistency_proof(LEAVES, old, new), data)
    assert not verify_consistency(old, root_of(LEAVES[:old]), new, root_of(LEAVES[:new]), proof)
