"""Kernels and arrays as text."""

import json

import numpy as np
import pytest
import yaml

from evaluators.packing import arrays_from, arrays_to, kernels_from, kernels_to
from evaluators.workload import Kernel, counted
from tests.evaluators.synthetic import network

FUSED = Kernel("conv", (1, 3, 8, 8), (1, 8, 8, 8), "float32", 99, 8, 7, 6, fused="silu")


def test_kernels_come_back() -> None:
    kernels = [FUSED, *network(0).kernels]
    found = kernels_from(kernels_to(kernels))
    assert found == [counted(kernel, 1) for kernel in kernels]
    assert (found[0].fused, hash(found[0])) == ("silu", hash(FUSED))
    assert kernels_from(kernels_to([])) == []


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
def test_arrays_come_back_bit_by_bit(dtype: str) -> None:
    arrays = {
        "a": np.random.default_rng(0).uniform(0, 200, (3, 4)).astype(dtype),
        "b": np.zeros(0, dtype),
    }
    found = arrays_from(arrays_to(arrays))
    assert set(found) == {"a", "b"}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_text_survives_yaml_and_json() -> None:
    text = kernels_to([FUSED])
    assert text.isascii()
    for again in (yaml.safe_load(yaml.safe_dump({"k": text}))["k"], json.loads(json.dumps(text))):
        assert kernels_from(again) == [FUSED]


TEXT = arrays_to({"a": np.random.default_rng(0).random(200)})


@pytest.mark.parametrize(
    "text", ["", "abc", "not base 64!", TEXT[: len(TEXT) // 2], TEXT[4:], "AAAA" * 40]
)
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        arrays_from(text)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_letter_that_differs_is_refused_or_harmless() -> None:
    small = arrays_to({"a": np.arange(5.0)})
    for place in range(len(small)):
        other = "A" if small[place] != "A" else "/"
        try:
            found = arrays_from(small[:place] + other + small[place + 1 :])
        except ValueError:
            continue
        assert all(array.tolist() == [0, 1, 2, 3, 4] for array in found.values())


def test_objects_are_not_loaded() -> None:
    harmful = arrays_to({"a": np.array([{"x": 1}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        arrays_from(harmful)
