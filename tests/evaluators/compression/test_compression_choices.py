"""Compression as choices, and what the choices mean."""

import json
import random

import pytest

from evaluators.compression import (
    PruneConfig,
    QuantizeConfig,
    compression_choices,
    kept_width,
    split,
)
from nas.choices import Choice, check_choices, enumerate_genotypes, sample, validate


@pytest.mark.parametrize(
    ("width", "ratio", "align", "kept"),
    [
        (64, 0.0, 8, 64),
        (64, 0.25, 8, 48),
        (64, 0.5, 8, 32),
        (48, 0.75, 8, 8),  # 12, rounded down
        (24, 0.25, 8, 16),
        (24, 0.75, 8, 8),  # never fewer than the alignment
        (8, 0.75, 8, 8),
        (4, 0.5, 8, 4),  # narrower than the alignment
        (20, 0.25, 8, 8),
        (20, 0.0, 8, 20),  # nothing is asked for
        (100, 0.9, 1, 10),  # not 9 by the rounding of floats
        (10, 0.99, 1, 1),
        (64, 0.3, 16, 32),
    ],
)
def test_kept_width(width, ratio, align, kept):
    assert kept_width(width, ratio, align) == kept


def test_nothing_is_added_for_none():
    assert compression_choices(["none"], ["none"], ["stage1"]) == []
    assert compression_choices([], [], ["stage1"]) == []


def test_joint_choices():
    choices = compression_choices(
        ["none", "structured", "magnitude"], ["none", "dynamic", "static"], ["stage1", "stage2"]
    )

    check_choices(choices)
    assert [choice.name for choice in choices] == [
        "prune.method",
        "prune.ratio.stage1",
        "prune.ratio.stage2",
        "prune.sparsity",
        "quantize.scheme",
    ]
    assert [choice.ordered for choice in choices] == [False, True, True, True, False]
    for genotype in enumerate_genotypes(choices):
        method = genotype["prune.method"]
        assert ("prune.ratio.stage2" in genotype) == (method == "structured")
        assert ("prune.sparsity" in genotype) == (method == "magnitude")


def test_a_space_without_stages_has_one_ratio():
    names = [choice.name for choice in compression_choices(["structured"], ["none"])]

    assert names == ["prune.method", "prune.ratio.all"]


def test_the_ratio_of_a_stage_that_is_left_out_is_not_chosen():
    space = [Choice("stage2.depth", (0, 1))]
    choices = space + compression_choices(
        ["structured"], ["none"], {"stage1": {}, "stage2": {"stage2.depth": (1,)}}
    )
    check_choices(choices)
    rng = random.Random(0)

    for _ in range(20):
        genotype = sample(choices, rng)
        assert "prune.ratio.stage1" in genotype
        assert ("prune.ratio.stage2" in genotype) == (genotype["stage2.depth"] == 1)


def test_unstructured_is_another_name_of_magnitude():
    choices = compression_choices(["none", "unstructured"], ["none"])

    assert choices[0].options == ("none", "magnitude")
    assert choices[1].name == "prune.sparsity"


@pytest.mark.parametrize(
    ("prune", "quantize", "message"),
    [
        (["structurd"], [], "prune.method 'structurd'; did you mean 'structured'"),
        ([], ["int8"], r"quantize.scheme 'int8'.*dynamic, none, qat, static"),
        (["structured", "structured"], [], "options must differ"),
        (["magnitude", "unstructured"], [], "options must differ"),
    ],
)
def test_methods_that_are_not_there_are_refused(prune, quantize, message):
    with pytest.raises(ValueError, match=message):
        compression_choices(prune, quantize)


def test_splitting_a_genotype():
    later = {
        "prune.method": "none",
        "quantize.scheme": "static",
        "deploy.cpu.runtime": "onnxruntime",
    }
    architecture, compression = split({"width": 8, "pruned": "no", **later})

    assert architecture == {"width": 8, "pruned": "no"}
    assert compression == later


def test_configurations_from_a_genotype():
    genotype = {
        "prune.method": "structured",
        "prune.ratio.stage1": 0.25,
        "prune.ratio.stage2": 0.5,
        "quantize.scheme": "dynamic",
    }

    prune = PruneConfig.from_genotype(genotype, align=4)

    assert prune == PruneConfig("structured", {"stage1": 0.25, "stage2": 0.5}, align=4)
    assert PruneConfig.from_genotype({"width": 3}) == PruneConfig()
    assert QuantizeConfig.from_genotype(genotype) == QuantizeConfig("dynamic")
    assert QuantizeConfig.from_genotype({}, calibration_samples=7) == QuantizeConfig("none", 7)


def test_every_joint_genotype_has_a_configuration_that_survives_json():
    choices = compression_choices(["none", "structured", "magnitude"], ["none", "static"], ["a"])

    for genotype in enumerate_genotypes(choices):
        validate(choices, genotype)
        for config in (PruneConfig.from_genotype(genotype), QuantizeConfig.from_genotype(genotype)):
            again = type(config).from_json(json.loads(json.dumps(config.to_json())))
            assert again == config
            assert hash(again) == hash(config)


def test_what_a_configuration_keeps():
    config = PruneConfig("structured", {"stage1": 0.5, "stage2": 0.25})

    assert config.keep("stage1", 32) == 16
    assert config.keep("stage2", 32) == 24
    assert config.keep("stem", 32) == 32
    assert PruneConfig("structured", {"all": 0.5}).keep("anything", 32) == 16
    assert PruneConfig("magnitude", sparsity=0.5).keep("stage1", 32) == 32
    assert PruneConfig().keep("stage1", 32) == 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PruneConfig(ratios={"a": 1.0}), "pruning ratio of 'a' must be .*, but got 1.0"),
        (lambda: PruneConfig(ratios={"a": -0.1}), "must be at least 0 and less than 1"),
        (lambda: PruneConfig(sparsity=1.5), "sparsity must be .*, but got 1.5"),
        (lambda: PruneConfig(align=0), "align must be at least 1, but got 0"),
        (lambda: QuantizeConfig(calibration_samples=0), "must be at least 1, but got 0"),
    ],
)
def test_configurations_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
