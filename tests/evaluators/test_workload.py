"""Tracing: exact counts, and the module left as it is."""

import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evaluators.workload import (
    LOWERINGS,
    Kernel,
    Workload,
    is_connected,
    trace,
    traces,
    with_dtype,
    workload_of,
)
from nas.trials import Candidate, CandidateError
from tests.evaluators.workload_nets import Residual, cnv, conv, counts, head, lenet, mobile
from tests.support.work import calls

KERNEL = Kernel("conv", (1, 3, 8, 8), (1, 16, 8, 8), "float32", 27648, 768, 4096, 1792)


class TestExactCounts:
    def test_lenet_5_is_that_of_the_textbook(self) -> None:
        """LeCun et al., 1998, with full connections: layer by layer, by hand."""
        layers = [28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10]
        workload = trace(lenet(), (1, 1, 32, 32))
        assert workload.macs == sum(layers) == 416520
        assert workload.params == 61706

    def test_cnv_is_that_of_its_paper(self) -> None:
        """FINN (Umuroglu et al., 2017): CNV needs 112.5 million operations a frame."""
        workload = trace(cnv(), (1, 3, 32, 32), "dataflow")
        hand = [(64, 27, 900), (64, 576, 784), (128, 576, 144), (128, 1152, 100)]
        hand += [(256, 1152, 9), (256, 2304, 1), (512, 256, 1), (512, 512, 1), (10, 512, 1)]
        assert workload.macs == sum(a * b * c for a, b, c in hand)
        assert 2 * workload.macs == pytest.approx(112.5e6, rel=0.06)

    def test_an_inverted_residual_block_by_hand(self) -> None:
        workload = trace(mobile(width=16, depth=2), (1, 3, 32, 32))
        pixels = 16 * 16
        stem, block = pixels * 16 * 27, pixels * (16 * 64 + 64 * 9 + 64 * 16)
        assert workload.macs == stem + 2 * block + 160
        block_params = 16 * 64 + 2 * 64 + 64 * 9 + 2 * 64 + 64 * 16 + 2 * 16
        assert workload.params == 16 * 27 + 2 * 16 + 2 * block_params + 170

    @pytest.mark.parametrize(
        ("module", "shape"),
        [
            (lenet(), (2, 1, 32, 32)),
            (cnv(), (2, 3, 32, 32)),
            (mobile(act=nn.SiLU), (3, 3, 20, 28)),
            (nn.Conv2d(8, 16, (3, 5), (2, 1), (0, 3), (1, 2), groups=4), (2, 8, 17, 19)),
            (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 33)),
            (nn.ConvTranspose2d(4, 6, 3, 2), (1, 4, 9, 9)),
            (nn.Linear(7, 5), (2, 3, 4, 7)),
            (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 6, 16)),
        ],
    )
    def test_it_counts_what_torch_counts(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        """Torch's own counter, which runs the network, is the independent witness."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module.train()(torch.zeros(shape))
        assert 2 * trace(module, shape).macs == counter.get_total_flops()

    def test_a_bilinear_layer_by_hand(self) -> None:
        """x W y for each output: 5 * 4 with the weights, then 4; torch does not count them."""

        class Pairs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Bilinear(5, 4, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x, x[:, :4])

        for lowering in LOWERINGS:
            workload = trace(Pairs(), (2, 5), lowering)
            assert workload.macs == 2 * 3 * (5 * 4 + 4)
            assert workload.params == 3 * 5 * 4 + 3

    def test_macs_grow_with_the_batch_and_params_do_not(self) -> None:
        one, many = trace(lenet(), (1, 1, 32, 32)), trace(lenet(), (8, 1, 32, 32))
        assert many.macs == 8 * one.macs
        assert many.params == one.params

    def test_shared_weights_are_counted_once_and_multiplied_twice(self) -> None:
        layer = nn.Linear(8, 8)
        workload = trace(nn.Sequential(layer, layer), (1, 8))
        assert (workload.macs, workload.params) == (128, 72)

    def test_all_lowerings_agree_on_what_is_counted(self) -> None:
        traces = [trace(mobile(), (1, 3, 32, 32), lowering) for lowering in LOWERINGS]
        assert len({(workload.macs, workload.params) for workload in traces}) == 1
        assert [workload.lowering for workload in traces] == list(LOWERINGS)

    def test_all_lowerings_at_once_run_the_network_once(self) -> None:
        runs = []
        net = mobile()
        net.register_forward_hook(lambda *_: runs.append(1))
        together = traces(net, (1, 3, 32, 32), LOWERINGS)
        assert len(runs) == 1
        assert together == {name: trace(mobile(), (1, 3, 32, 32), name) for name in LOWERINGS}


class TestKernels:
    def test_equal_kernels_are_one_with_a_count(self) -> None:
        net = nn.Sequential(conv(3, 16), *[conv(16, 16) for _ in range(5)], head(16, 10))
        kernels = trace(net, (1, 3, 8, 8)).kernels
        assert [(kernel.op, kernel.count) for kernel in kernels] == [
            ("conv", 1),
            ("conv", 5),
            ("global_pool", 1),
            ("reorder", 1),
            ("linear", 1),
        ]

    def test_shapes_and_bytes_of_a_folded_convolution(self) -> None:
        assert trace(conv(3, 16), (1, 3, 8, 8)).kernels == (KERNEL,)

    def test_the_classes_of_convolutions(self) -> None:
        net = nn.Sequential(
            nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2)
        )
        ops = [kernel.op for kernel in trace(net, (1, 8, 16, 16)).kernels]
        assert ops == ["conv", "depthwise", "grouped_conv"]
        assert trace(nn.ConvTranspose2d(2, 2, 2), (1, 2, 4, 4)).kernels[0].op == "transposed_conv"

    def test_weights_times_data_are_linear_and_data_times_data_a_product(self) -> None:
        class Products(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(6, 6))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return (x @ self.weight) @ x.transpose(0, 1)

        found = counts(trace(Products(), (4, 6), "eager"))
        assert found == {"linear": 1, "matmul": 1}

    def test_an_unknown_operation_reads_and_writes(self) -> None:
        class Odd(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.special.bessel_j0(x)

        (kernel,) = trace(Odd(), (2, 3)).kernels
        assert (kernel.macs, kernel.input_bytes, kernel.output_bytes) == (0, 24, 24)

    def test_what_does_not_depend_on_the_input_is_no_kernel(self) -> None:
        class Constant(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(4, 4))
                self.offset = torch.ones(4)  # no buffer, on the CPU

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                standard = (self.weight - self.weight.mean()) / self.weight.std()
                return nn.functional.linear(x, standard) + self.offset * torch.arange(4.0)

        assert counts(trace(Constant(), (1, 4))) == {"linear": 1, "add": 1}


class TestControlFlow:
    def test_that_on_data_is_refused(self) -> None:
        class Depends(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x if x.sum() > 0 else -x

        with pytest.raises(CandidateError, match="its control flow depends on data"):
            trace(Depends(), (1, 4))

    def test_a_result_whose_shape_depends_on_data_is_refused(self) -> None:
        class Depends(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x[x > 0]

        with pytest.raises(CandidateError, match="cannot be traced( at .*)?: "):
            trace(Depends(), (1, 4))

    @pytest.mark.parametrize("leaves", [lambda x: x.detach().numpy(), lambda x: {}[x], id])
    def test_whatever_forward_raises_is_the_fault_of_the_candidate(
        self, leaves: Callable[[torch.Tensor], object]
    ) -> None:
        class Leaves(nn.Module):
            def forward(self, x: torch.Tensor) -> object:
                return leaves(x).shape  # type: ignore[attr-defined]

        with pytest.raises(CandidateError, match="^cannot be traced: ") as caught:
            trace(Leaves(), (1, 4))
        assert "\n" not in str(caught.value)

    def test_that_on_shapes_and_on_weights_is_followed(self) -> None:
        class Follows(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("deep", torch.tensor(3))
                self.layer = nn.Linear(4, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                for _ in range(int(self.deep) if x.shape[1] == 4 else 0):
                    x = self.layer(x)
                return x

        assert counts(trace(Follows(), (1, 4))) == {"linear": 3}

    @pytest.mark.parametrize(
        "net",
        [
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(9, 8, 3)),
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(9)),
            nn.Sequential(nn.Flatten(), nn.Linear(7, 2)),
            nn.Conv2d(3, 8, 9),
            nn.MaxPool2d(9),
        ],
    )
    def test_shapes_that_do_not_fit_are_the_fault_of_the_candidate(self, net: nn.Module) -> None:
        with pytest.raises(CandidateError, match="cannot be traced( at .*)?: ") as caught:
            trace(net, (1, 3, 8, 8))
        assert "\n" not in str(caught.value)


class TestWhereItFails:
    def test_the_submodule_and_the_operation_are_named(self) -> None:
        net = nn.Sequential(
            OrderedDict(stem=conv(3, 8), stage2=nn.ModuleList([Residual(nn.Conv2d(9, 8, 3))])[0])
        )
        with pytest.raises(CandidateError) as caught:
            trace(net, (1, 3, 8, 8))
        assert str(caught.value).startswith("cannot be traced at stage2.body: aten::convolution: ")
        assert "\n" not in str(caught.value)

    def test_so_is_control_flow_on_data(self) -> None:
        class Depends(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x if x.sum() > 0 else -x

        line = "cannot be traced at 1: aten::_local_scalar_dense: its control flow depends on data"
        with pytest.raises(CandidateError, match=f"^{line}$"):
            trace(nn.Sequential(nn.ReLU(), Depends()), (1, 4))

    def test_an_error_of_the_module_itself_has_no_operation(self) -> None:
        class Broken(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                raise RuntimeError("two lines\nof text")

        with pytest.raises(CandidateError, match="^cannot be traced at 1: two lines$"):
            trace(nn.Sequential(nn.ReLU(), Broken()), (1, 4))


class TestModuleIsLeftAsItIs:
    def test_modes_weights_and_statistics_stay(self) -> None:
        net = nn.Sequential(conv(3, 8), nn.Dropout(0.5), conv(8, 8))
        net.train()
        net[2].eval()
        modes = [part.training for part in net.modules()]
        state = {name: value.clone() for name, value in net.state_dict().items()}
        trace(net, (1, 3, 8, 8))
        assert [part.training for part in net.modules()] == modes
        after = net.state_dict()
        assert state.keys() == after.keys()
        assert all(torch.equal(state[name], after[name]) for name in state)

    def test_modes_come_back_after_a_failure(self) -> None:
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4)).train()
        with pytest.raises(CandidateError):
            trace(net, (1, 3))
        assert all(part.training for part in net.modules())

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch itself
    def test_those_of_a_script_go_on_following_it(self) -> None:
        net = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.Dropout())).train()
        trace(net, (1, 8))
        ones = torch.ones(1, 8)
        assert net.training
        assert not torch.equal(net(ones), net(ones))  # dropout drops
        assert not net.eval().training

    def test_a_module_hears_that_it_is_evaluated(self) -> None:
        class Merged(nn.Module):
            """Two branches, which become one when it is evaluated."""

            def __init__(self) -> None:
                super().__init__()
                self.weights, self.is_merged = nn.Linear(8, 8), False

            def train(self, mode: bool = True) -> "Merged":
                self.is_merged = not mode
                return super().train(mode)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                result: torch.Tensor = self.weights(x)
                return result if self.is_merged else result + x

        net = Merged()
        for part in net.modules():
            part.training = False
        assert counts(trace(net, (1, 8))) == {"linear": 1}

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch itself
    def test_a_compiled_module_is_traced_as_it_is_written(self) -> None:
        net = nn.Sequential(torch.compile(nn.Linear(8, 8)), nn.ReLU())
        assert trace(net, (1, 8)) == trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), (1, 8))

    def test_dropout_and_random_numbers_are_not_executed(self) -> None:
        net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
        before = torch.get_rng_state()
        assert counts(trace(net, (1, 4))) == {"linear": 1}
        assert torch.equal(torch.get_rng_state(), before)

    def test_in_place_activations_fold_as_others_do(self) -> None:
        plain, in_place = conv(3, 8), conv(3, 8, act=lambda: nn.ReLU(inplace=True))
        assert trace(plain, (1, 3, 8, 8)) == trace(in_place, (1, 3, 8, 8))


class TestValues:
    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"dtype": "float8"}, "dtype must be one of .*, but got 'float8'"),
            ({"macs": -1}, "must not be negative"),
            ({"weight_bytes": -1}, "must not be negative"),
            ({"count": 0}, "count must be at least 1, but got 0"),
        ],
    )
    def test_a_kernel_is_checked(self, changes: dict[str, object], line: str) -> None:
        with pytest.raises(ValueError, match=line):
            replace(KERNEL, **changes)

    def test_a_kernel_survives_pickling_into_another_process(self) -> None:
        hash(KERNEL)
        code = (
            "import sys, pickle; kernel = pickle.load(sys.stdin.buffer);"
            "from dataclasses import replace; print({kernel: 1}[replace(kernel)])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(KERNEL),
            capture_output=True,
            check=True,
        )
        assert done.stdout.strip() == b"1"

    def test_workloads_are_equal_in_any_order(self) -> None:
        other = replace(KERNEL, op="depthwise")
        one, two = ((KERNEL, other), (other, KERNEL))
        assert Workload(one, 1, 2, "xla") == Workload(two, 1, 2, "xla")
        assert hash(Workload(one, 1, 2, "xla")) == hash(Workload(two, 1, 2, "xla"))

    @pytest.mark.parametrize(
        "different",
        [
            Workload((KERNEL,), 1, 3, "xla"),
            Workload((KERNEL,), 2, 2, "xla"),
            Workload((KERNEL,), 1, 2, "eager"),
            Workload((replace(KERNEL, count=2),), 1, 2, "xla"),
            "a workload",
        ],
    )
    def test_workloads_differ_by_any_of_their_parts(self, different: object) -> None:
        assert Workload((KERNEL,), 1, 2, "xla") != different

    def test_memory_depends_on_the_order_and_is_not_compared(self) -> None:
        assert Workload((KERNEL,), 1, 2, "xla", 8) == Workload((KERNEL,), 1, 2, "xla")
        with pytest.raises(ValueError, match="peak_memory_bytes must not be negative, but got -1"):
            Workload((KERNEL,), 1, 2, "xla", -1)

    def test_unknown_lowerings_and_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="lowering must be one of .*, but got 'tvm'"):
            trace(lenet(), (1, 1, 32, 32), "tvm")
        with pytest.raises(ValueError, match="lowering must be one of .*, but got 'tvm'"):
            Workload((), 0, 0, "tvm")
        with pytest.raises(ValueError, match=r"input_shape must be .*, but got \(0, 1\)"):
            trace(lenet(), (0, 1))


class TestDtype:
    def test_bytes_shrink_with_the_item_and_macs_stay(self) -> None:
        workload = trace(mobile(), (1, 3, 32, 32))
        quarter = with_dtype(workload, "int8")
        for before, after in zip(workload.kernels, quarter.kernels, strict=True):
            assert after == replace(
                before,
                dtype="int8",
                input_bytes=before.input_bytes // 4,
                output_bytes=before.output_bytes // 4,
                weight_bytes=before.weight_bytes // 4,
            )
        assert (quarter.macs, quarter.params) == (workload.macs, workload.params)
        assert quarter.peak_memory_bytes * 4 == workload.peak_memory_bytes > 0

    def test_integer_kernels_stay_integer(self) -> None:
        quarter = with_dtype(trace(lenet(), (1, 1, 32, 32)), "int8")
        assert with_dtype(quarter, "float16") == quarter

    def test_there_and_back(self) -> None:
        workload = trace(lenet(), (1, 1, 32, 32))
        assert with_dtype(with_dtype(workload, "bfloat16"), "float32") == workload

    def test_an_unknown_dtype_is_refused(self) -> None:
        with pytest.raises(ValueError, match="but got 'float8'"):
            with_dtype(trace(lenet(), (1, 1, 32, 32)), "float8")


class TestOfCandidates:
    def test_the_lowering_is_looked_up(self) -> None:
        one, two = Workload((KERNEL,), 1, 1, "xla"), Workload((KERNEL,), 1, 1, "eager")
        candidate = Candidate({}, "t", "c", workload={"xla": one, "eager": two})
        assert workload_of(candidate, "eager") is two
        assert workload_of(candidate) is one
        assert workload_of(replace(candidate, workload=two), "eager") is two

    @pytest.mark.parametrize("carried", [None, {}, Workload((KERNEL,), 1, 1, "eager")])
    def test_one_that_it_does_not_carry_is_its_own_fault(self, carried: object) -> None:
        candidate = Candidate({}, "t", "c", workload=carried)
        with pytest.raises(CandidateError, match="carries no workload lowered for 'xla'"):
            workload_of(candidate, "xla")


def test_tracing_is_little_work_and_grows_with_the_layers() -> None:
    def work(layers: int) -> int:
        net = nn.Sequential(conv(3, 16), mobile(depth=(layers - 2) // 3)[1:])  # type: ignore[index]
        assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in net.modules()) == layers
        trace(net, (1, 3, 16, 16))
        return calls(lambda: trace(net, (1, 3, 16, 16)))

    assert work(59) < 50_000
    assert work(236) < 4.2 * work(59)


def test_importing_workloads_needs_no_torch() -> None:
    code = "import sys, evaluators.workload, evaluators.modeled; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("build", [lenet, cnv])
def test_tracing_twice_is_the_same(build: Callable[[], nn.Module]) -> None:
    shape = (1, 1 if build is lenet else 3, 32, 32)
    assert trace(build(), shape) == trace(build(), shape)


class Adjusted(nn.Module):
    """A pooled image with a weight added to it, or multiplied, from either side."""

    def __init__(self, adjust: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1)
        self.weight, self._adjust = nn.Parameter(torch.ones(1, 16, 1, 1)), adjust

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.body(x).mean((2, 3), keepdim=True)
        result: torch.Tensor = self.head(self._adjust(pooled, self.weight))
        return result


@pytest.mark.parametrize("adjust", [torch.add, torch.mul])
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_the_order_of_a_sum_and_a_product_does_not_matter(adjust, lowering: str) -> None:  # type: ignore[no-untyped-def]
    one = trace(Adjusted(lambda data, weight: adjust(data, weight)), (1, 3, 8, 8), lowering)
    other = trace(Adjusted(lambda data, weight: adjust(weight, data)), (1, 3, 8, 8), lowering)
    assert one == other


@pytest.mark.parametrize(
    ("shape", "weight", "bias"),
    [((8,), (8, 4), (4,)), ((2, 8), (8,), (4,)), ((2, 8), (8, 4), (3,))],
)
def test_products_that_do_not_fit_are_refused_by_torch(
    shape: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...]
) -> None:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.addmm(torch.ones(bias), x, torch.ones(weight))

    with pytest.raises(CandidateError, match="^cannot be traced: aten::addmm: (?!tuple index)"):
        trace(Product(), shape)


def test_a_residual_reads_both_of_its_inputs() -> None:
    net = Residual(conv(8, 8, act=None))
    folded, apart = (trace(net, (1, 8, 4, 4), name) for name in ("xla", "dataflow"))
    assert [kernel.input_bytes for kernel in folded.kernels] == [2 * 512]
    assert [kernel.input_bytes for kernel in apart.kernels] == [512, 2 * 512]


def test_a_fourier_transform_is_one_more_operation_that_reads_and_writes() -> None:
    class Fourier(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(x).abs()

    assert [kernel.macs for kernel in trace(Fourier(), (1, 8)).kernels] == [0, 0]


class Assembled(nn.Module):
    """Puts its feature maps together by a way of its own."""

    def __init__(self, assemble: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.assemble, self.head = assemble, nn.Linear(8 * 64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.assemble(self.one(x), self.other(x)).flatten(1))


def by_slices(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    both = torch.zeros(one.shape[0], 8, *one.shape[2:])
    both[:, :4] = one
    both[:, 4:] = other
    return both


def by_index(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    both = torch.zeros(one.shape[0], 8, *one.shape[2:])
    both[:, torch.arange(4)] = one
    both.index_copy_(1, torch.arange(4, 8), other)
    return both


def by_parts(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    both = one.new_empty(one.shape[0], 2, *one.shape[1:])
    for place, part in enumerate((one, other)):
        both[:, place].copy_(part)
    return both


@pytest.mark.parametrize("assemble", [by_slices, by_index, by_parts])
@pytest.mark.parametrize("lowering", ["eager", "onnxruntime", "tflite"])
def test_what_is_written_into_a_new_tensor_is_not_lost(assemble, lowering: str) -> None:
    network = Assembled(assemble)
    assert is_connected(network, (1, 3, 8, 8))
    workload = trace(network, (1, 3, 8, 8), lowering)
    assert sum(kernel.count for kernel in workload.kernels if kernel.macs) == 3
    assert workload.macs == 64 * 4 * (3 + 27) + 512 * 10
