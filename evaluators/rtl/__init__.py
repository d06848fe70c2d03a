"""Small networks as circuits that are fully unrolled: every product is logic of its own.

The circuit is made from the very file that is scored (`evaluators.rtl.program` reads it), by da4ml
(`evaluators.rtl.circuit`, the only module that imports it). `evaluators.rtl.latency` is the
evaluator ``fpga_rtl``; simulation by Verilator and synthesis by yosys are for what is exported.
"""
