"""Graphs as plain values."""

import json
from dataclasses import replace

import pytest

from evaluators.tpu.graph import Graph, Node, Spec, ref_of, references, renamed
from tests.evaluators.tpu.nets import SMALL


def test_a_graph_is_read_back_equal() -> None:
    again = Graph.from_json(json.loads(json.dumps(SMALL.to_json())))
    assert again == SMALL
    assert again.fingerprint == SMALL.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        replace(SMALL, outputs=("linear",)),
        replace(SMALL, layout="torch_xla"),
        replace(SMALL, inputs={"x": Spec((4, 4), "float32")}),
        replace(
            SMALL, nodes=(*SMALL.nodes[:1], Node("relu", "tanh.default", ({"ref": "linear"},), {}))
        ),
    ],
)
def test_what_compiles_otherwise_hashes_otherwise(other: Graph) -> None:
    assert other.fingerprint != SMALL.fingerprint


def test_readers_count_outputs_too() -> None:
    assert SMALL.readers() == {"x": 1, "w": 1, "b": 1, "linear": 1, "relu": 1}


def test_references_are_found_in_lists_and_by_name() -> None:
    node = Node("cat", "cat.default", ([{"ref": "a"}, {"ref": "b"}], 1), {"other": {"ref": "c"}})
    assert references(node) == ["a", "b", "c"]
    assert renamed(node.args, {"b": "z"}) == ([{"ref": "a"}, {"ref": "z"}], 1)
    assert ref_of({"dtype": "float32"}) == ""


def test_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="layout must be one of .*, but got 'mine'"):
        replace(SMALL, layout="mine")


def test_elements_of_a_spec() -> None:
    assert Spec((2, 3, 4), "float32").elements == 24
