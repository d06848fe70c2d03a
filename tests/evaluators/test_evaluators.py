"""Evaluators by name."""

import pytest

import evaluators


def test_the_known_names():
    assert evaluators.names() == [
        "accuracy",
        "complexity",
        "file_size",
        "fpga_dataflow",
        "fpga_rtl",
        "measured_latency",
        "modeled_latency",
        "proxies",
        "robustness",
        "size",
        "tpu_analytic",
        "tpu_xla",
    ]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown evaluator 'acuracy'; did you mean 'accuracy'"):
        evaluators.create("acuracy")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("accuracy", {}, "evaluator 'accuracy': missing a required argument: 'data'"),
        ("size", {"unit": "mb"}, "evaluator 'size': got an unexpected keyword argument 'unit'"),
    ],
)
def test_options_that_are_missing_or_unknown(name: str, options: dict[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        evaluators.create(name, **options)


def test_metrics_are_declared_before_anything_runs():
    assert evaluators.create("size").provides == ("size_kb", "size_kb_compressed")
    assert evaluators.create("complexity").stage == "screen"
