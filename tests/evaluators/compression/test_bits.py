"""Bit-widths as choices, and which layer they are of."""

import pytest

from evaluators.compression import Bits, QuantizeConfig, compression_choices, split
from nas.choices import check_choices, enumerate_genotypes

STAGES = {"layer1": {}, "layer2": {"depth": (2,)}}
BITS = Bits(weight=(2, 4), activation=(3,), input=(4, 5))


def test_there_is_a_choice_a_stage_and_one_for_what_no_stage_holds():
    choices = compression_choices(["none"], ["none", "qat"], ["layer1", "layer2"], BITS)

    check_choices(choices)
    assert [choice.name for choice in choices] == [
        "quantize.scheme",
        "quantize.input_bits",
        "quantize.weight_bits",
        "quantize.weight_bits.layer1",
        "quantize.weight_bits.layer2",
        "quantize.activation_bits",
        "quantize.activation_bits.layer1",
        "quantize.activation_bits.layer2",
    ]
    assert [choice.options for choice in choices[1:4]] == [(4, 5), (2, 4), (2, 4)]
    assert all(choice.ordered for choice in choices[1:])


def test_bits_are_chosen_only_where_they_mean_something():
    choices = compression_choices(["none"], ["none", "qat"], STAGES, BITS)
    by_name = {choice.name: choice for choice in choices}

    assert by_name["quantize.weight_bits"].when == {"quantize.scheme": ("qat",)}
    assert by_name["quantize.weight_bits.layer2"].when == {
        "depth": (2,),
        "quantize.scheme": ("qat",),
    }
    assert not compression_choices(["none"], ["none"], STAGES, BITS)


def test_a_genotype_becomes_a_configuration_and_back():
    choices = compression_choices(["none"], ["qat"], ["layer1"], BITS)
    for genotype in enumerate_genotypes(choices):
        config = QuantizeConfig.from_genotype(genotype, 32)
        assert QuantizeConfig.from_json(config.to_json()) == config
        assert config.bits_of("layer1.0") == (genotype["quantize.weight_bits.layer1"], 3)
        assert config.bits_of("head.0") == (genotype["quantize.weight_bits"], 3)
        assert config.input_bits == genotype["quantize.input_bits"]
        assert split(genotype) == ({}, genotype)


def test_a_stage_holds_its_own_layers_only():
    config = QuantizeConfig("qat", 8, {"all": 8, "layer1": 2}, {"layer1": 3})

    assert config.bits_of("layer1.1") == (2, 3)
    assert config.bits_of("layer12.1") == (8, 8)
    assert config.bits_of("body.layer1.1") == (8, 8)


@pytest.mark.parametrize("bits", [0, 9, 2.0, True, "4"])
def test_bits_that_cannot_be_are_refused(bits):
    line = "must be an integer from 1 to 8, but got"
    with pytest.raises(ValueError, match=f"weight_bits {line}"):
        Bits(weight=(bits,))
    with pytest.raises(ValueError, match=f"activation_bits of 'all' {line}"):
        QuantizeConfig("qat", 8, {}, {"all": bits})
    with pytest.raises(ValueError, match=f"input_bits {line}"):
        QuantizeConfig("qat", input_bits=bits)


@pytest.mark.parametrize("widths", [(), (4, 4)])
def test_a_list_of_bits_has_each_width_once(widths):
    with pytest.raises(ValueError, match="activation_bits must list at least one width, each once"):
        Bits(activation=widths)
