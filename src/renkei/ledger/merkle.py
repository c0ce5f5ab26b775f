"""The Merkle tree of RFC 6962 (the same as in RFC 9162) over SHA-256.

Leaves are given as leaf hashes; only `leaf_hash` sees a record's bytes. `Tree` follows a growing ledger with
O(log n) state; the functions make and verify proofs.
"""

import hashlib
from collections.abc import Iterable, Sequence

from renkei.errors import IntegrityBroken

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data)."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that only grows and keeps nothing but its frontier: the roots of its complete subtrees, largest first.

    The sizes of those subtrees are the ones in the binary form of `size`.
    """

    __slots__ = ("_frontier", "size")

    def __init__(self) -> None:
        self.size = 0
        """How many leaves."""
        self._frontier: list[bytes] = []

    @staticmethod
    def restore(size: int, hashes: Iterable[bytes]) -> "Tree":
        """Return the tree that had this `size` and these `hashes`.

        Raises:
            IntegrityBroken: A tree of this size cannot have had them.
        """
        tree = Tree()
        tree.size, tree._frontier = size, list(hashes)
        if size < 0 or len(tree._frontier) != size.bit_count() or any(len(h) != HASH_BYTES for h in tree._frontier):
            raise IntegrityBroken(
                f"The saved state of a Merkle tree does not fit its size {size}.",
                "Build the tree again from the records.",
            )
        return tree

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The frontier, for `restore`."""
        return tuple(self._frontier)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        frontier, n = self._frontier, self.size
        while n & 1:
            leaf = _sha256(b"\x01" + frontier.pop() + leaf).digest()
            n >>= 1
        frontier.append(leaf)
        self.size += 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, in order: level by level, which is quicker than one by one."""
        frontier, size = self._frontier, self.size
        level, bit = list(leaves), 1
        done: list[bytes] = []  # smallest first
        while level:
            if size & bit:
                level.insert(0, frontier.pop())
            if len(level) & 1:
                done.append(level.pop())
            level = [_sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=True)]
            bit <<= 1
        frontier += reversed(done)
        self.size = size + len(leaves)

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._frontier:
            return EMPTY_ROOT
        *rest, root = self._frontier
        for left in reversed(rest):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree over the first `size` leaves (RFC 6962, 2.1.1).

    Args:
        leaves: Leaf hashes, at least `size`.
        index: From 0 to size - 1.
        size: The size of the tree to prove inclusion in.

    Raises:
        IndexError: There is no such leaf or not so many leaves.
    """
    if not 0 <= index < size <= len(leaves):
        raise IndexError(f"no leaf {index} in a tree of {size} over {len(leaves)} leaves")
    level, proof = list(leaves[:size]), list[bytes]()
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        level, index = _parents(level), index >> 1
    return proof


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether `proof` shows leaf hash `leaf` at `index` of the tree of `size` and `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or any(len(h) != HASH_BYTES for h in (leaf, *proof)):
        return False
    last = size - 1
    for sibling in proof:
        if last == 0:
            return False
        if index & 1 or index == last:
            leaf = node_hash(sibling, leaf)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            leaf = node_hash(leaf, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and leaf == root


def consistency_proof(leaves: Sequence[bytes], old: int, new: int) -> list[bytes]:
    """Return the proof that the tree over the first `old` leaves is a prefix of the one over `new` (RFC 6962, 2.1.2).

    Args:
        leaves: Leaf hashes, at least `new`.
        old: Size of the older tree; the proof from 0 is empty.
        new: Size of the newer tree.

    Raises:
        IndexError: There are not so many leaves, or `old` is larger than `new`.
    """
    if not 0 <= old <= new <= len(leaves):
        raise IndexError(f"no consistency from {old} to {new} over {len(leaves)} leaves")
    return _subproof(leaves[:new], old, True) if old else []


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows the old tree to be a prefix of the new one (RFC 9162, 2.1.4.2).

    From the empty tree, and from a tree to itself, the proof is empty.
    """
    if not 0 <= old_size <= new_size or any(len(h) != HASH_BYTES for h in proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if old_size.bit_count() == 1:
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """Return the level above; an odd node at the end goes up as it is."""
    above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return [*above, level[-1]] if len(level) & 1 else above


def _subproof(leaves: Sequence[bytes], old: int, whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2: `whole` says that the verifier has the root over the first `old` of these leaves."""
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= split:
        return [*_subproof(leaves[:split], old, whole), root_of(leaves[split:])]
    return [*_subproof(leaves[split:], old - split, False), root_of(leaves[:split])]
