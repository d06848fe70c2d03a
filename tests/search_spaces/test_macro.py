"""The space `macro`: the networks of NAS-Bench-Macro."""

from __future__ import annotations

import pytest

import search_spaces
from evaluators.workload import BlockCache
from nas.choices import count
from nas.task import Task
from search_spaces.macro import MacroSpace, genotype_of

CIFAR = Task("images", "classification", (3, 32, 32), 10, "accuracy", "data")


@pytest.mark.parametrize(
    ("digits", "params", "macs"),
    [  # xiusu/NAS-Bench-Macro @61a2bfc
        ("00000000", 387_882, 7_713_280),
        ("00000001", 791_594, 14_115_328),
        ("00000002", 1_219_370, 20_910_592),
        ("01201201", 1_283_434, 46_109_184),
        ("22222222", 2_932_586, 105_660_928),
    ],
)
def test_parameters_and_operations_are_the_published_ones(digits, params, macs):
    workload = BlockCache("eager").workload(MacroSpace().blocks(genotype_of(digits), CIFAR))

    assert (workload.params, workload.macs) == (params, macs)


def test_an_identity_is_left_out_where_nothing_changes():
    blocks = MacroSpace().blocks(genotype_of("00000000"), CIFAR)

    assert [block.output_shape for block in blocks] == [
        *[(32, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4)],
        (10,),
    ]


def test_all_networks_of_the_benchmark():
    choices = search_spaces.create("macro").choices

    assert count(choices) == 6_561
    assert tuple(genotype_of("01201201")) == tuple(choice.name for choice in choices)


@pytest.mark.parametrize("digits", ["0120120", "012012013", "01201203", ""])
def test_digits_of_another_benchmark_are_refused(digits):
    with pytest.raises(ValueError, match=f"must be 8 digits out of 012, but got '{digits}'"):
        genotype_of(digits)


def test_a_wrong_width_is_refused():
    with pytest.raises(ValueError, match="width of macro must be a number from 0.1 to 4"):
        search_spaces.create("macro", width=5)
