"""Every kernel that a step of ResNet9 and VGG9 launches compiles, on a machine without a GPU.

In a process of its own, in which kernels are not interpreted. Tensors are on `meta`: they have shapes alone.
"""

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no triton here")
# Of them at least: blocks of float32 and bfloat16, with pools and without, and the rules.
LAUNCHED = {
    "statistics_kernel", "join_kernel", "normalise_kernel", "sums_kernel", "gradient_kernel",
    "moments_kernel", "fold_kernel", "first_layer_kernel", "first_sums_kernel", "first_gradient_kernel",
    "sgd_kernel", "adam_kernel", "signum_kernel",
}  # fmt: skip
MOST_SPILLED = 64  # bytes a thread: registers that go to memory cost what fusing saves


RESNET9, VGG9 = ("ResNet9/1/tf32", "ResNet9/1/bfloat16"), ("VGG9/3/tf32", "VGG9/3/bfloat16")


@pytest.mark.parametrize(("capability", "cases"), [(80, RESNET9[:1]), (90, RESNET9 + VGG9)])
def test_all_kernels_compile_without_spilling(capability, cases, tmp_path):
    environment = {name: x for name, x in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, __file__, str(capability), *cases], capture_output=True, text=True, timeout=900,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert {name for name, *_ in rows} == LAUNCHED
    spilled = {name: int(bytes_) for name, _, bytes_ in rows if int(bytes_) > MOST_SPILLED}
    assert not spilled


def compile_all(capability: int, cases: list[str]) -> None:
    """Print of every kernel its name, registers and bytes spilled, as the assembler says."""
    import torch
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    from collapse.architectures import ARCHITECTURES
    from collapse.architectures import network as network_module
    from collapse.optimizers import OPTIMIZERS
    from collapse.training.kernels import body
    from collapse.training.kernels.rules import IN_PLACE, fused_rule
    from collapse.training.steps import FlatParameters, training_step

    class Absent:
        """A GPU that nothing is launched on."""

        def get_current_target(self):
            return GPUTarget("cuda", capability, 32)

        def get_current_device(self):
            return 0

        def get_current_stream(self, device):
            return 0

        def get_active_torch_device(self):
            return torch.device("meta")

    with_kernels = [name for name, one in OPTIMIZERS.items() if one.direction in IN_PLACE]
    driver.set_active(Absent())
    seen, launch = set(), JITFunction.run

    def compile_only(function, *args, grid, warmup, **options):
        kernel = launch(function, *args, grid=grid, warmup=True, **options)
        if kernel.hash not in seen:
            seen.add(kernel.hash)
            print(function.fn.__name__, *assembled(kernel, Path(triton.__file__).parent), flush=True)
        return kernel

    JITFunction.run = compile_only
    # There is no autocast on `meta`: what it would give is said here.
    network_module.body_autocast = lambda precision, kind: contextlib.nullcontext()
    settings = {"momentum": 0.9, "weight_decay": 0.01, "coupled_fraction": 0.5}
    settings |= {"beta2": 0.999, "epsilon": 1e-8}
    for name, channels, precision in (case.split("/") for case in cases):
        channels = int(channels)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        with torch.device("meta"):
            shape = dict(channels=channels, image_size=32, num_classes=10, train_size=1, width=1.0)
            network = ARCHITECTURES[name](**shape).to(memory_format=torch.channels_last).train()
            batch, labels = torch.empty(128, channels, 32, 32), torch.empty(128, dtype=torch.long)
            rate = torch.empty((), dtype=torch.float64)
        flat, body.dtype_of = FlatParameters(network), lambda x, dtype=dtype: dtype
        network.precision = precision
        for optimizer in with_kernels if (name, precision) == ("ResNet9", "tf32") else ["SGD"]:
            step = partial(
                training_step, network=network, flat=flat, rule=fused_rule(optimizer, flat, **settings),
                gradients=body.written_gradients,
            )  # fmt: skip
            step({}, batch, labels, rate)
        network.eval()
        parameters = list(network.parameters())
        leaves = body.rounded(parameters, flat) if dtype is torch.bfloat16 else parameters
        with torch.no_grad():
            body.fused_body(network.body, batch, dict(zip(map(id, parameters), leaves, strict=True)))


def assembled(kernel, triton: Path) -> tuple[int, int]:
    """Registers and bytes spilled of a compiled kernel."""
    text = kernel.asm["ptx"]
    capability = re.search(r"\.target (\w+)", text).group(1)
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(text)
        file.flush()
        assembler = "ptxas-blackwell" if int(re.search(r"\d+", capability).group()) >= 100 else "ptxas"
        command = [triton / "backends/nvidia/bin" / assembler, "-v", f"--gpu-name={capability}", file.name]
        said = subprocess.run([*command, "-o", os.devnull], capture_output=True, text=True, check=True).stderr
    return tuple(int(re.search(what, said).group(1)) for what in (r"Used (\d+) reg", r"(\d+) bytes spill st"))


if __name__ == "__main__":
    compile_all(int(sys.argv[1]), sys.argv[2:])
