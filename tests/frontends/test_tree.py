"""Are trees flattened and put back as they were, and are differences named?"""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina as lm
from lamina.frontends import tree

Point = namedtuple("Point", "x y")


@tree.register
@dataclass
class Layer:
    weight: object
    bias: object
    name: str = field(default="dense", metadata={"static": True})


TREES = st.recursive(st.integers() | st.none(), lambda inside: st.lists(inside, max_size=3) | st.tuples(inside, inside)
                     | st.dictionaries(st.sampled_from("abcd"), inside, max_size=3) | st.builds(Point, inside, inside)
                     | st.builds(Layer, inside, inside), max_leaves=12)


@given(TREES)
def test_trees_come_back_as_they_were(x):
    leaves, structure = tree.flatten(x)
    assert tree.unflatten(structure, leaves) == x
    assert structure.count == len(leaves) == len(tree.paths(structure))
    assert structure == tree.structure(x) and hash(structure) == hash(tree.structure(x))
    assert tree.map(lambda v: v, x) == x


def test_dicts_are_taken_in_the_order_of_their_keys():
    a, b = {"b": 1, "a": 2}, {"a": 2, "b": 1}
    assert tree.flatten(a)[0] == [2, 1] and tree.structure(a) == tree.structure(b)
    assert tree.structure(OrderedDict(a)) == tree.structure(a)
    assert tree.leaves({1: "x", "1": "y"}) == ["x", "y"]


def test_none_has_no_leaves():
    assert tree.flatten(None)[0] == [] and tree.map(lambda x: x + 1, {"a": None, "b": 1}) == {"a": None, "b": 2}


def test_paths_read_like_python():
    paths, _ = tree.flatten_with_paths({"layers": [Layer(1, 2)], "at": Point(3, (4,))})
    assert paths == [("['at'].x", 3), ("['at'].y[0]", 4), ("['layers'][0].weight", 1), ("['layers'][0].bias", 2)]
    assert tree.dotted("['layers'][0].bias") == ".layers.0.bias"


def test_static_fields_belong_to_the_structure():
    a, b = Layer(1, 2, "a"), Layer(1, 2, "b")
    assert tree.leaves(a) == [1, 2] and tree.structure(a) != tree.structure(b)
    assert tree.map(lambda x: -x, a) == Layer(-1, -2, "a")
    assert tree.difference(tree.structure(a), tree.structure(b)) == "at the root: Layer with ('a',) and with ('b',)"
    with pytest.raises(tree.TreeError, match="static data of Layer is not hashable"):
        tree.flatten(Layer(1, 2, ["list"]))


def test_map_takes_several_trees_and_names_the_first_difference():
    assert lm.tree.map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]}) == {"a": [11, 22]}
    for other, message in [({"a": [1]}, r"at \['a'\]: lists of 2 and 1 items"), ({"a": (1, 2)}, r"at \['a'\]: list "
                                                                                                r"and tuple"),
                           ({"b": [1, 2]}, "at the root: key 'a' only in the first and key 'b' only in the second"),
                           ({"a": [1, None]}, r"at \['a'\]\[1\]: a leaf and None")]:
        with pytest.raises(tree.TreeError, match=f"trees differ {message}"):
            tree.map(lambda x, y: x, {"a": [1, 2]}, other)


def test_unflatten_counts_its_leaves():
    with pytest.raises(tree.TreeError, match=r"1 leaves for a tree of 2: Structure\(\(\*, \*\)\)"):
        tree.unflatten(tree.structure((1, 2)), [1])


def test_is_leaf_stops_at_containers():
    assert tree.leaves([(1, 2), (3, 4)], is_leaf=lambda x: isinstance(x, tuple)) == [(1, 2), (3, 4)]


def test_any_class_can_be_registered():
    class Box:
        def __init__(self, inside, label):
            self.inside, self.label = inside, label
    tree.register_type(Box, lambda b: ((b.inside,), b.label), lambda label, children: Box(children[0], label),
                       lambda *_: [".inside"])
    box = tree.map(np.negative, Box(np.arange(3), "k"))
    assert box.label == "k" and list(box.inside) == [0, -1, -2] and tree.paths(tree.structure(box)) == [".inside"]
    with pytest.raises(tree.TreeError, match="Box is no dataclass"):
        tree.register(Box)
    with pytest.raises(tree.TreeError, match="has no field missing"):
        tree.register(dataclass(type("D", (), {})), static=["missing"])


def test_a_prefix_is_spread_over_what_is_below_it():
    full = {"a": [1, 2], "b": (3, None), "c": {}}
    assert tree.spread(True, full) == [True] * 3
    assert tree.spread({"a": 7, "b": (8, 9), "c": 5}, full) == [7, 7, 8]
    assert tree.spread({"a": None, "b": None, "c": None}, full, is_leaf=lambda x: x is None) == [None] * 4
    with pytest.raises(tree.TreeError, match=r"masks and the tree that they are for differ at \['a'\]: lists of 1 and 2"):
        tree.spread({"a": [1], "b": 2, "c": 3}, full, what="masks")
    with pytest.raises(tree.TreeError, match=r"at \['b'\]\[0\]: list and a leaf"):
        tree.spread({"a": 1, "b": ([1], 3), "c": 3}, full)
