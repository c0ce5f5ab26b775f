"""The Merkle tree, against the values that Certificate Transparency's own implementations agree on."""

import hashlib

import pytest

from renkei.errors import IntegrityBroken
from renkei.ledger.merkle import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

RECORDS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [leaf_hash(bytes.fromhex(record)) for record in RECORDS]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def unhex(hashes: list[str]) -> list[bytes]:
    return [bytes.fromhex(h) for h in hashes]


def test_leaves_and_nodes_are_hashed_in_domains_of_their_own() -> None:
    assert leaf_hash(b"ab") == hashlib.sha256(b"\x00ab").digest()
    assert node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


def test_a_growing_tree_has_every_root_on_its_way() -> None:
    tree = Tree()
    roots = [tree.root().hex()]
    for leaf in LEAVES:
        tree.append(leaf)
        roots.append(tree.root().hex())
    assert roots == ROOTS
    assert tree.size == 8


@pytest.mark.parametrize(("index", "size"), list(INCLUSION))
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int) -> None:
    proof = inclusion_proof(LEAVES, index, size)
    assert proof == unhex(INCLUSION[index, size])
    assert verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), list(CONSISTENCY))
def test_consistency_proofs_are_those_of_certificate_transparency(old: int, new: int) -> None:
    proof = consistency_proof(LEAVES, old, new)
    assert proof == unhex(CONSISTENCY[old, new])
    assert verify_consistency(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), proof)


def test_a_tree_is_restored_from_its_frontier_and_grows_on() -> None:
    tree = Tree()
    for leaf in LEAVES[:5]:
        tree.append(leaf)
    restored = Tree.restore(tree.size, tree.hashes)
    for leaf in LEAVES[5:]:
        restored.append(leaf)
    assert restored.root().hex() == ROOTS[8]
    assert tree.root().hex() == ROOTS[5]
    assert [len(Tree.restore(7, LEAVES[:3]).hashes), tree.size] == [3, 5]


@pytest.mark.parametrize(
    ("size", "hashes"), [(5, LEAVES[:1]), (5, LEAVES[:3]), (-1, LEAVES[:1]), (0, LEAVES[:1]), (1, [b"short"])]
)
def test_a_state_that_cannot_be_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(IntegrityBroken, match="does not fit its size"):
        Tree.restore(size, hashes)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (8, 8), (-1, 8), (0, 9)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES, index, size)
    assert not verify_inclusion(LEAVES[0], index, min(size, 0), [], EMPTY_ROOT)


@pytest.mark.parametrize(("old", "new"), [(-1, 8), (5, 4), (0, 9)])
def test_there_is_no_proof_between_sizes_that_are_not_there(old: int, new: int) -> None:
    with pytest.raises(IndexError):
        consistency_proof(LEAVES, old, new)
    assert not verify_consistency(5, EMPTY_ROOT, 4, EMPTY_ROOT, [])


def test_everything_is_consistent_with_the_empty_tree_and_with_itself_by_an_empty_proof() -> None:
    root = bytes.fromhex(ROOTS[8])
    assert consistency_proof(LEAVES, 0, 8) == consistency_proof(LEAVES, 8, 8) == []
    assert verify_consistency(0, EMPTY_ROOT, 8, root, [])
    assert verify_consistency(8, root, 8, root, [])
    assert not verify_consistency(0, root, 8, root, [])
    assert not verify_consistency(0, EMPTY_ROOT, 8, root, [root])
    assert not verify_consistency(8, root, 8, EMPTY_ROOT, [])
    assert not verify_consistency(8, root, 8, root, [root])
    assert not verify_consistency(3, root, 8, root, [])


def test_hashes_of_another_length_prove_nothing() -> None:
    left, right = LEAVES[0], LEAVES[1]
    root = node_hash(left, right)
    assert verify_inclusion(right, 1, 2, [left], root)
    assert not verify_inclusion(left[31:] + right, 1, 2, [left[:31]], root)
    assert not verify_consistency(1, left, 2, root, [right + b"x"])
