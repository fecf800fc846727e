"The hash tree of the ledger: vectors of RFC 6962, a naive tree, and proofs that were tampered with."

import hashlib

import pytest

from football_pred.core.ledger_checks import (
    TreeFrontier,
    completing_leaf,
    consistency_nodes,
    inclusion_nodes,
    leaf_hash,
    peak_nodes,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 130
# Entries and roots of the reference implementation of certificate transparency.
VECTOR_ENTRIES = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
]
VECTOR_ROOTS = [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]


def naive_root(leaves: list[bytes]) -> bytes:
    "MTH of RFC 6962, section 2.1, word by word."
    if not leaves:
        return hashlib.sha256(b'').digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    left, right = naive_root(leaves[:middle]), naive_root(leaves[middle:])
    return hashlib.sha256(b'\x01' + left + right).digest()


def split(size: int) -> int:
    middle = 1
    while middle * 2 < size:
        middle *= 2
    return middle


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    "PATH of section 2.1.1."
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*naive_path(index, leaves[:middle]), naive_root(leaves[middle:])]
    return [*naive_path(index - middle, leaves[middle:]), naive_root(leaves[:middle])]


def naive_subproof(first: int, leaves: list[bytes], is_start: bool) -> list[bytes]:
    "SUBPROOF of section 2.1.2."
    if first == len(leaves):
        return [] if is_start else [naive_root(leaves)]
    middle = split(len(leaves))
    if first <= middle:
        return [*naive_subproof(first, leaves[:middle], is_start), naive_root(leaves[middle:])]
    return [*naive_subproof(first - middle, leaves[middle:], False), naive_root(leaves[:middle])]


class GrownTree:
    "Every complete subtree and every root of a tree, as a table of entries would hold them."

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.calls: list[list[tuple[int, int]]] = []
        frontier = TreeFrontier()
        self.roots = [frontier.root()]
        for index, leaf in enumerate(leaves):
            for level, node in enumerate([leaf, *frontier.append(leaf)]):
                subtree = (level, index >> level)
                assert completing_leaf(subtree) == index
                self.nodes[subtree] = node
            assert frontier.peaks == [self.nodes[peak] for peak in peak_nodes(frontier.size)]
            self.roots.append(frontier.root())

    def get_nodes(self, subtrees: list[tuple[int, int]]) -> list[bytes]:
        self.calls.append(subtrees)
        return [self.nodes[subtree] for subtree in subtrees]


@pytest.fixture(scope='module')
def tree():
    return GrownTree([leaf_hash(b'entry %d' % number) for number in range(LARGEST)])


def test_roots_of_the_reference_vectors():
    frontier = TreeFrontier()
    roots = [frontier.root().hex()]
    for entry in VECTOR_ENTRIES:
        frontier.append(leaf_hash(bytes.fromhex(entry)))
        roots.append(frontier.root().hex())
    assert roots == VECTOR_ROOTS


def test_proofs_of_the_reference_vectors():
    grown = GrownTree([leaf_hash(bytes.fromhex(entry)) for entry in VECTOR_ENTRIES])
    assert [element.hex() for element in prove_inclusion(0, 8, grown.get_nodes)] == [
        '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
        '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
        '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ]
    assert [element.hex() for element in prove_consistency(6, 8, grown.get_nodes)] == [
        '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
        'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
        'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]


def test_roots_of_all_sizes(tree):
    assert tree.roots == [naive_root(tree.leaves[:size]) for size in range(LARGEST + 1)]


def test_a_frontier_goes_on_from_any_size(tree):
    for size in range(LARGEST):
        peaks = [tree.nodes[peak] for peak in peak_nodes(size)]
        frontier = TreeFrontier(size, peaks)
        assert frontier.root() == tree.roots[size]
        frontier.append(tree.leaves[size])
        assert frontier.root() == tree.roots[size + 1]


@pytest.mark.parametrize('size', range(1, LARGEST + 1))
def test_inclusion_proofs(tree, size):
    for index in range(size):
        proof = prove_inclusion(index, size, tree.get_nodes)
        assert proof == naive_path(index, tree.leaves[:size])
        assert verify_inclusion(tree.leaves[index], index, size, proof, tree.roots[size])


@pytest.mark.parametrize('second', range(1, LARGEST + 1))
def test_consistency_proofs(tree, second):
    for first in range(1, second + 1):
        proof = prove_consistency(first, second, tree.get_nodes)
        assert proof == naive_subproof(first, tree.leaves[:second], True)
        roots = tree.roots[first], tree.roots[second]
        assert verify_consistency(first, second, proof, *roots)


def test_nodes_are_read_once_and_are_complete(tree):
    tree.calls.clear()
    prove_inclusion(3, 99, tree.get_nodes)
    prove_consistency(65, 99, tree.get_nodes)
    assert len(tree.calls) == 2
    for subtrees in tree.calls:
        assert all(completing_leaf(subtree) < 99 for subtree in subtrees)


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize('size', [1, 2, 3, 7, 8, 21, 64, 100])
def test_a_tampered_inclusion_proof_fails(tree, size):
    root = tree.roots[size]
    for index in range(size):
        leaf = tree.leaves[index]
        proof = prove_inclusion(index, size, tree.get_nodes)
        assert not verify_inclusion(flip(leaf), index, size, proof, root)
        assert not verify_inclusion(leaf, index, size, proof, flip(root))
        assert not verify_inclusion(leaf, index, size, [*proof, root], root)
        assert not verify_inclusion(leaf, size, size, proof, root)
        assert not verify_inclusion(leaf, -1, size, proof, root)
        for place in range(len(proof)):
            changed = [*proof[:place], flip(proof[place]), *proof[place + 1 :]]
            assert not verify_inclusion(leaf, index, size, changed, root)
            assert not verify_inclusion(leaf, index, size, proof[:place], root)
        for other in range(size):
            if other != index:
                assert not verify_inclusion(leaf, other, size, proof, root)


@pytest.mark.parametrize('second', [2, 3, 7, 8, 21, 64, 100])
def test_a_tampered_consistency_proof_fails(tree, second):
    for first in range(1, second):
        roots = tree.roots[first], tree.roots[second]
        proof = prove_consistency(first, second, tree.get_nodes)
        assert not verify_consistency(first, second, proof, flip(roots[0]), roots[1])
        assert not verify_consistency(first, second, proof, roots[0], flip(roots[1]))
        assert not verify_consistency(first, second, [*proof, roots[0]], *roots)
        for place in range(len(proof)):
            changed = [*proof[:place], flip(proof[place]), *proof[place + 1 :]]
            assert not verify_consistency(first, second, changed, *roots)
            assert not verify_consistency(first, second, proof[:place], *roots)


def test_ends_of_consistency(tree):
    empty, root = tree.roots[0], tree.roots[5]
    assert verify_consistency(0, 5, [], empty, root)
    assert not verify_consistency(0, 5, [], root, root)
    assert not verify_consistency(0, 5, [root], empty, root)
    assert verify_consistency(5, 5, [], root, root)
    assert not verify_consistency(5, 5, [], tree.roots[4], root)
    assert not verify_consistency(6, 5, [root], root, root)
    assert not verify_consistency(-1, 5, [root], root, root)


@pytest.mark.parametrize(
    'call',
    [
        lambda: inclusion_nodes(5, 5),
        lambda: inclusion_nodes(-1, 5),
        lambda: consistency_nodes(0, 5),
        lambda: consistency_nodes(6, 5),
        lambda: TreeFrontier(5, [b'']),
        lambda: TreeFrontier(-1, []),
    ],
)
def test_what_no_tree_has_is_refused(call):
    with pytest.raises(ValueError, match='leaves'):
        call()
