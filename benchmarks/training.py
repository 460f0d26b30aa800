"""What keeping the constant costs: training steps beside steps with h frozen, sealed forwards beside their convolutions.

    python benchmarks/training.py [--threads 1] [--repeats 15]
    python benchmarks/training.py --memory 4 [--recompute]   # instead: peak memory of a step of preset S on 4 images at 224 x 224

Each line times two things in turn, A B B A ..., on the same tensors, and prints the median of B / A over the repeats with
its quartiles. Processor time: other load moves it little.

- step: forward, backward and nothing else, of a convex potential block; A with a constant in place of h (two convolutions and
  a ReLU, the floor), B as trained, with its power iteration and the gradient through h.
- sealed: forward without gradient; A the two convolutions alone, without ReLU, bias or sum, B the sealed block.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

import cpl

BATCH = 128
CONVS = ((45, 5, 32), (45, 45, 32), (32, 32, 16), (128, 64, 8))  # channels, inner, side of the map
DENSE = ((2880, 2048), (2048, 1024))


def ratio(floor: Callable[[], object], ours: Callable[[], object], repeats: int) -> str:
    """Median and quartiles of ours / floor, timed alternately."""
    floor(), ours()
    ratios, seconds = [], []
    for index in range(repeats):
        times = {}
        for name, call in (("a", floor), ("b", ours))[:: 1 if index % 2 else -1]:
            start = time.process_time()
            call()
            times[name] = time.process_time() - start
        ratios.append(times["b"] / times["a"])
        seconds.append(times["a"])
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f}  ({low:.3f} .. {high:.3f})   floor {1e3 * statistics.median(seconds):.1f} ms"


class Frozen(nn.Module):
    """The block with a constant in place of h."""

    def __init__(self, block: nn.Module, step: float) -> None:
        super().__init__()
        self.block, self.step = block, step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        potential = cpl.Potential(self.block.operator(), self.block.bias)
        return cpl.explicit_euler(potential, x, self.step)


def step_of(module: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    def call() -> None:
        module.zero_grad()
        module(x).square().mean().backward()

    return call


def memory(images: int, *, recompute: bool) -> None:
    """Prints the peak memory of this process after one training step."""
    model = cpl.CPLNet(cpl.preset("S", image_shape=(3, 224, 224), classes=10)).to(memory_format=torch.channels_last)
    model.recompute(recompute)
    with torch.no_grad():
        model.train()(torch.zeros(1, 3, 224, 224))
    model(torch.rand(images, 3, 224, 224)).square().sum().backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"preset S, {images} images of 224 x 224, recompute={recompute}: {peak} MiB at most, weights and gradients included"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--memory", type=int, metavar="IMAGES")
    parser.add_argument("--recompute", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.memory:
        memory(given.memory, recompute=given.recompute)
        return
    print(
        f"torch {torch.__version__}, {given.threads} thread(s), batch {BATCH}, {given.repeats} repeats: median (quartiles)"
    )
    for channels, inner, side in CONVS:
        block = cpl.ConvexPotentialConv2d(channels, inner).to(memory_format=torch.channels_last).train()
        x = torch.rand(BATCH, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
        block(x)
        name = f"conv {channels} -> {inner} at {side} x {side}"
        print(
            f"step    {name:28s} {ratio(step_of(Frozen(block, 0.1), x), step_of(block, x), given.repeats)}", flush=True
        )
        sealed = cpl.seal(block, (channels, side, side))
        data, kernel = x.detach(), sealed.V

        def two(data=data, kernel=kernel) -> torch.Tensor:
            return F.conv_transpose2d(F.conv2d(data, kernel, padding=1), kernel, padding=1)

        with torch.no_grad():
            print(f"sealed  {name:28s} {ratio(two, lambda: sealed(data), given.repeats)}", flush=True)  # noqa: B023
    for features, inner in DENSE:
        block = cpl.ConvexPotentialLinear(features, inner).train()
        x = torch.rand(BATCH, features).requires_grad_()
        name = f"dense {features} -> {inner}"
        print(
            f"step    {name:28s} {ratio(step_of(Frozen(block, 0.1), x), step_of(block, x), given.repeats)}", flush=True
        )


if __name__ == "__main__":
    main()
