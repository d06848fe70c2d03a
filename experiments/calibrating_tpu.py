"""A TPU's latency model, distilled from the estimates of its compiler.

The compiler takes a second or more for a network; the model that is fitted to a few of them takes
a millisecond for any other one.
"""

from __future__ import annotations

from evaluators.tpu.chips import chip_of
from evaluators.tpu.xla import XlaCompiler, compiler_version, latency
from experiments.calibrating import Sample, Setting
from experiments.calibrating_host import Progress
from experiments.calibrating_networks import Network, Networks, Plan, built, choose_networks
from hw_profiles import HardwareProfile


def compile_all(
    plan: Plan,
    dtype: str = "",
    compiler: XlaCompiler | None = None,
    progress: Progress = lambda what, done, count: None,
) -> tuple[list[Sample], Setting]:
    """Compile the networks of a plan; what was compiled before is only read.

    Args:
        plan: which networks, in which batch; its dtypes do not matter.
        dtype: ``bfloat16`` or ``float32``; ``""``: the profile's.
        compiler: a new one by default.
        progress: is told how far it is.

    Raises:
        ValueError: for a profile of no chip that the compiler knows, or no compiler.
        CandidateError: a network cannot be compiled.
    """
    profile = plan.profile
    chip_of(profile)
    mine = compiler or XlaCompiler()
    try:
        progress("choosing networks", 0, 1)
        chosen = choose_networks(Networks(profile.lowering), plan)
        samples = []
        for done, network in enumerate(chosen, start=1):
            time_ms = compiled_ms(network, profile, plan.batch, dtype, mine)
            samples.append(Sample(network, dtype or profile.dtype, time_ms))
            progress("compiling", done, len(chosen))
    finally:
        if compiler is None:
            mine.close()
    machine = f"{profile.title}, estimated by its compiler"
    return samples, Setting(compiler_version(), plan.batch, None, machine=machine)


def compiled_ms(
    network: Network, profile: HardwareProfile, batch: int, dtype: str, compiler: XlaCompiler
) -> float:
    """The latency of one call as the compiler estimates it, in milliseconds.

    Args:
        network: which.
        profile: of a chip that the compiler knows.
        batch: examples a call.
        dtype: see `compile_all`.
        compiler: that is asked.

    Raises:
        CandidateError: the network cannot be compiled.
    """
    from evaluators.tpu.export import export

    graph, _ = export(built(network), (batch, *network.input_shape))
    program = compiler.compile(graph, chip_of(profile).name, dtype or profile.dtype)
    return latency(program, profile).latency_ms
