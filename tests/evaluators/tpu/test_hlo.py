"""Reading what the compiler says."""

import pytest

from evaluators.tpu.hlo import instructions, unestimated
from nas.trials import CandidateError

_CONFIG = (
    """backend_config={"window_config":{"estimated_cycles":"1829","iteration_bounds":["1"]}}"""
)
ENTRY = f"""HloModule jit_program, is_scheduled=true

%fused_computation (p: bf16[2,4]) -> bf16[2,3] {{
  ROOT %dot = bf16[2,3]{{1,0}} dot(%p), backend_config={{"estimated_cycles":"999999"}}
}}

ENTRY %main.6 (x.1: bf16[2,4]) -> (bf16[2,3]) {{
  %x.1 = bf16[2,4]{{1,0:T(8,128)(2,1)}} parameter(0), metadata={{op_name="x"}}
  %copy-start = (bf16[3,4]{{1,0:S(1)}}, bf16[3,4]{{1,0}}, u32[]{{:S(2)}}) copy-start(%x.1)
  %fusion.1 = (bf16[2,3]{{1,0:T(8,128)(2,1)S(1)}}, bf16[2]{{0}}) fusion(%x.1), kind=kOutput, \
metadata={{op_name="jit(program)/dot_general" stack_frame_id=3}}, {_CONFIG}
  %copy.2 = bf16[2,3]{{1,0}} copy(%fusion.1), metadata={{op_name="jit(program)/transpose"}}
  %get-tuple-element.1 = bf16[2,3]{{1,0}} get-tuple-element(%fusion.1), index=0
  ROOT %tuple.3 = (bf16[2,3]{{1,0}}) tuple(%copy.2)
}}
"""


def test_cycles_of_the_entry_computation_are_read() -> None:
    first, second = instructions(ENTRY)
    assert (first.name, first.opcode, first.source) == ("fusion.1", "fusion", "dot_general")
    assert (first.shape, first.cycles) == ((2, 3), 1829)
    assert (second.opcode, second.source, second.cycles) == ("copy", "transpose", 0)


def test_what_has_no_estimate_is_counted() -> None:
    assert unestimated(instructions(ENTRY)) == {"copy": 1}


@pytest.mark.parametrize("opcode", ["while", "conditional", "call"])
def test_bodies_elsewhere_are_refused(opcode: str) -> None:
    text = ENTRY.replace(" fusion(%x.1)", f" {opcode}(%x.1)")
    with pytest.raises(CandidateError, match=f"has a {opcode}, whose cycles are not estimated"):
        instructions(text)


def test_a_text_without_a_program_is_refused() -> None:
    with pytest.raises(CandidateError, match="no entry computation"):
        instructions("HloModule nothing")
