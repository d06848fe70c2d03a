"""Operations that a circuit can have, and what is said of others."""

import numpy as np
import pytest
from onnx import helper

from evaluators.rtl.operations import operation
from nas.trials import CandidateError

IMAGE = np.arange(16.0).reshape(1, 1, 4, 4)


def apply(kind, *arguments, **attributes):
    node = helper.make_node(kind, ["x"], ["y"], **attributes)
    return operation(node)(node, *arguments)


def test_windows_lie_where_kernel_stride_and_padding_say():
    ones = np.ones((1, 1, 3, 3), np.float32)
    plain = apply("Conv", IMAGE, ones, kernel_shape=[3, 3])
    padded = apply("Conv", IMAGE, ones, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])

    assert plain.tolist() == [[[[45, 54], [81, 90]]]]
    assert padded.tolist() == [[[[10, 24], [51, 90]]]]


def test_groups_keep_to_their_channels():
    both = np.concatenate([IMAGE, 10 * IMAGE], axis=1)
    found = apply("Conv", both, np.ones((2, 1, 1, 1)), np.array([1.0, 2.0]), group=2)

    assert found[0, :, 0, 1].tolist() == [2.0, 12.0]


def test_pools():
    assert apply("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]).ravel().tolist() == [
        *(5, 7, 13, 15)
    ]
    assert apply("AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2])[0, 0, 0, 0] == 2.5
    assert apply("GlobalAveragePool", IMAGE).tolist() == [[[[7.5]]]]


def test_products_and_scales():
    values, weights = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0], [0.5, -1.0]])

    assert apply("Gemm", values, weights, np.array([1.0, 1.0]), transB=1).tolist() == [[8, -0.5]]
    assert apply("MatMul", values, weights).tolist() == [[2.0, 1.0]]
    assert apply("Mul", values, np.array(0.25)).tolist() == [[0.25, 0.5]]
    assert apply("Mul", np.array([4.0]), values).tolist() == [[4.0, 8.0]]


@pytest.mark.parametrize(
    ("kind", "arguments", "attributes", "line"),
    [
        ("Softmax", [IMAGE], {}, "the network has a Softmax .possible: Add, AveragePool"),
        ("Mul", [IMAGE, np.array(3.0)], {}, "something else than a power of two"),
        ("Mul", [IMAGE, np.array(-2.0)], {}, "something else than a power of two"),
        ("Mul", [IMAGE, IMAGE], {}, "something else than a power of two"),
        ("Gemm", [IMAGE, IMAGE], {"alpha": 2.0}, "transposes or scales"),
        ("MatMul", [IMAGE, None], {}, "multiplies values with one another"),
        ("Flatten", [IMAGE], {"axis": 0}, "a Flatten of the batch"),
        ("Conv", [IMAGE, np.ones((1, 1, 1))], {}, "not over images"),
        ("Conv", [IMAGE, np.ones((1, 1, 2, 2))], {"dilations": [2, 2]}, "with dilation"),
        ("Conv", [IMAGE, np.ones((1, 1, 2, 2))], {"auto_pad": "SAME_UPPER"}, "pads by itself"),
        ("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, "with padding"),
        ("AveragePool", [IMAGE], {"kernel_shape": [3, 3]}, "averages 9 values"),
    ],
)
def test_what_is_no_logic_of_adders_is_refused(kind, arguments, attributes, line):
    with pytest.raises(CandidateError, match=f"no circuit: .*{line}"):
        apply(kind, *arguments, **attributes)
