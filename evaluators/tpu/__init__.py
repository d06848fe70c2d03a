"""TPUs without a TPU: what the XLA:TPU compiler estimates, and a model that is distilled from it.

A network's `torch.export` graph becomes plain values (`evaluators.tpu.export`), which a process of
its own maps to JAX, compiles ahead of time for a chip and reads the compiler's cycles off. JAX and
libtpu are imported in that process only; they come with the extra ``tpu``.
"""
