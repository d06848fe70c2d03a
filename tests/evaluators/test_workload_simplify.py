"""What is left out of a graph."""

from evaluators.workload_recorder import INPUT, Node, Recording
from evaluators.workload_simplify import dead_ends, reaching, without_repeats, without_zeros


def node(op: str, *inputs: int, role: str = "other", name: str = "", same: object = None) -> Node:
    shape = (1, 8, 4, 4)
    elements = 128 * max(1, len(inputs))
    return Node(
        name or op, role, op, inputs, shape, shape, "float32", 0, elements, 128, 0, False, same
    )


def conv(source: int) -> Node:
    return node("conv", source, role="mac", name="convolution")


def recording(*nodes: Node, outputs: tuple[int, ...] = ()) -> Recording:
    return Recording(nodes, outputs or (len(nodes) - 1,), (1, 8, 4, 4))


class TestRepeats:
    def test_equal_ones_on_equal_inputs_are_read_as_one(self) -> None:
        relu = node("activation", INPUT, role="activation", same="relu")
        found = without_repeats(recording(relu, relu, conv(0), conv(1), node("add", 2, 3)))
        assert [n.inputs for n in found.nodes[2:4]] == [(0,), (0,)]

    def test_so_are_those_that_follow_from_it(self) -> None:
        relu = node("activation", INPUT, role="activation", same="relu")
        pools = [node("pool", 0, same="pool"), node("pool", 1, same="pool")]
        found = without_repeats(recording(relu, relu, *pools, node("add", 2, 3)))
        assert found.nodes[4].inputs == (2, 2)

    def test_others_are_not(self) -> None:
        nodes = [node("pool", INPUT, same="3x3"), node("pool", INPUT, same="5x5")]
        unknown = [conv(INPUT), conv(INPUT)]
        before = recording(*nodes, *unknown, node("concat", 0, 1, 2, 3))
        assert without_repeats(before) == before

    def test_what_changes_nothing_is_looked_through(self) -> None:
        noop = node("add", INPUT, role="noop")
        relus = [
            node("activation", INPUT, role="activation", same="relu"),
            node("activation", 0, role="activation", same="relu"),
        ]
        assert without_repeats(recording(noop, *relus, outputs=(2,))).outputs == (1,)


class TestZeros:
    zero = node("mul", INPUT, role="zero", name="mul")

    def test_a_product_with_zero_reads_nothing(self) -> None:
        found = without_zeros(recording(self.zero))
        assert (found.nodes[0].role, found.nodes[0].inputs) == ("constant", ())

    def test_adding_it_is_nothing(self) -> None:
        found = without_zeros(recording(self.zero, conv(INPUT), node("add", 0, 1)))
        assert (found.nodes[2].role, found.nodes[2].inputs) == ("noop", (1,))

    def test_zero_and_zero_is_zero_also_past_a_relu_and_a_view(self) -> None:
        relu = node("activation", 0, role="activation", name="relu")
        view = node("view", 1, role="view")
        found = without_zeros(recording(self.zero, relu, view, self.zero, node("add", 2, 3)))
        assert [n.role for n in found.nodes] == ["constant"] * 5

    def test_a_sigmoid_of_zero_is_not(self) -> None:
        sigmoid = node("activation", 0, role="activation", name="sigmoid")
        found = without_zeros(recording(self.zero, sigmoid))
        assert (found.nodes[1].role, found.nodes[1].inputs) == ("activation", ())

    def test_a_convolution_of_it_stays_and_needs_nothing_before_it(self) -> None:
        found = without_zeros(recording(conv(INPUT), node("mul", 0, role="zero"), conv(1)))
        assert found.nodes[2].op == "conv"
        assert reaching(found, found.outputs) == {2}


class TestDeadEnds:
    def test_a_convolution_with_its_batch_norm_that_nothing_reads(self) -> None:
        norm = node("batch_norm", 0, role="norm")
        dead = recording(conv(INPUT), norm, conv(INPUT))
        assert dead_ends(dead, {2}) == [0, 1]

    def test_not_one_that_something_dead_computes_with(self) -> None:
        pool = node("pool", 0)
        assert dead_ends(recording(conv(INPUT), pool, conv(INPUT)), {2}) == []

    def test_only_one_that_is_dead(self) -> None:
        assert dead_ends(recording(conv(INPUT), conv(0)), {0, 1}) == []

    def test_a_pooling_is_none(self) -> None:
        assert dead_ends(recording(node("pool", INPUT), conv(INPUT)), {1}) == []
