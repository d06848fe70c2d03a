"""Streaming dataflow accelerators on FPGAs, in the manner of FINN.

Every layer of the network is a unit of its own on the chip, and all of them work at the same time;
pixels stream from one to the next. `units` describes such a circuit, `cycles` says how long a unit
takes for a frame, `stream` when the first frame is out, `resources` what a unit costs,
`folding` how parallel the units of a circuit can be on a device, `tracing` makes a circuit of a
torch module, and `evaluator` reads all that off a candidate.

The formulas are those of FINN-R (Blott et al., FINN-R: An End-to-End Deep-Learning Framework for
Fast Exploration of Quantized Neural Networks, ACM TRETS 2018) and of the FINN compiler (BSD-3),
where a docstring does not name another source.
"""

from __future__ import annotations
