"""Spectral audits of whole networks, with where the time goes; one network a process, since memory is its peak.

    python benchmarks/audit.py                # all three networks; some two minutes
    python benchmarks/audit.py cpl-m5         # one of cpl-m5, cpl-m45, resnet18
    python benchmarks/audit.py --quick        # small ones of the same kinds, no bar judged

Bars, on two cores: CPL-S shape (20 convolutional blocks 45 -> m -> 45 at 32x32, 7 dense blocks 2880 -> 2048) whole in at
most 60 s and 6 GB, for m = 5 and m = 45; ResNet18 with BatchNorm at 3x224x224 in at most 5 minutes and 8 GB, with a
finite bound for every convolution and the whole. Exit code 1 if a bar is missed. OMP_NUM_THREADS sets the threads.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from networks import CPLNet, ResNet18

import lipverify
from lipverify import auditing
from lipverify.maps import Adjoint
from lipverify.rigor.rounding import decimal_up
from lipverify.verifiers import spectral

Maker = Callable[[], torch.nn.Module]

NETWORKS: dict[str, tuple[Maker, tuple[int, ...], float, float]] = {
    "cpl-m5": (lambda: CPLNet(5), (1, 3, 32, 32), 60, 6),
    "cpl-m45": (lambda: CPLNet(45), (1, 3, 32, 32), 60, 6),
    "resnet18": (ResNet18, (1, 3, 224, 224), 300, 8),
}
"""Maker, input shape, and the bars: seconds and gigabytes."""

QUICK: dict[str, tuple[Maker, tuple[int, ...], float, float]] = {
    "cpl-m5": (
        lambda: CPLNet(3, channels=5, conv_blocks=2, dense_blocks=1, dense_inner=8, side=8),
        (1, 3, 8, 8),
        math.inf,
        math.inf,
    ),
    "resnet18": (lambda: ResNet18((4, 8), 10), (1, 3, 32, 32), math.inf, math.inf),
}


class Clock:
    """Seconds and calls of some functions, by name; time in one is not counted again in another that called it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [0.0]

    def wrap(self, module: ModuleType, name: str, label: Callable[..., str]) -> None:
        """Replace ``module.name`` by itself, timed under ``label(*arguments)``."""
        function = getattr(module, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                spent = time.perf_counter() - start
                key = label(*arguments)
                self.seconds[key] += spent - self._inner.pop()
                self.calls[key] += 1
                self._inner[-1] += spent

        setattr(module, name, timed)


def kind(linear: Any, *_: Any) -> str:
    """What a linear map is, for the table."""
    of: Any = linear.of if isinstance(linear, Adjoint) else linear
    name = f"norm of {type(of).__name__.lower()}"
    if hasattr(of, "kernel"):
        out, inner, *taps = of.kernel.shape
        image = "x".join(map(str, of.input_shape[2:]))
        stride = "" if set(of.stride) == {1} else f" stride {of.stride[0]}"
        name += f" {inner} -> {out}, {'x'.join(map(str, taps))}{stride} @ {image}"
    elif hasattr(of, "weight"):
        name += f" {of.weight.shape[1]} -> {of.weight.shape[0]}"
    return name


def measure(name: str, quick: bool, seed: int) -> bool:
    """Audit one network; print the table; whether its bars hold."""
    make, shape, most_seconds, most_gigabytes = (QUICK if quick else NETWORKS)[name]
    torch.manual_seed(seed)
    model, inputs = make().eval(), torch.rand(shape)
    clock = Clock()
    clock.wrap(auditing, "trace", lambda *_: "trace")
    clock.wrap(auditing, "regions", lambda *_: "regions: all but the cross-check")
    # By name: the package shows the function of the same name.
    clock.wrap(sys.modules["lipverify.graph.regions"], "crosscheck", lambda *_: "regions: cross-check")
    clock.wrap(spectral, "norm", kind)
    clock.wrap(spectral, "prove_ratio", lambda *_: "witnesses of linear regions, in ball arithmetic")
    start, used = time.perf_counter(), time.process_time()
    report = lipverify.audit(model, inputs, verifiers=["spectral"], name=name)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name}: {seconds:.1f} s ({used:.1f} s of processor time), {gigabytes:.2f} GB, {torch.get_num_threads()} threads",
        flush=True,
    )
    for key, spent in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
        print(f"{spent:9.2f} s {clock.calls[key]:>5} x  {key}")
    print(f"{seconds - sum(clock.seconds.values()):9.2f} s          the rest")
    bounded = [row for row in report.regions if row.upper is not None]
    whole = next(row for row in report.regions if row.path == "")
    print(f"    {len(bounded)} of {len(report.regions)} regions bounded; the whole: ", end="")
    print(whole.reason if whole.upper is None else f"at most {decimal_up(whole.upper, 6)}", flush=True)
    held = seconds <= most_seconds and gigabytes <= most_gigabytes and whole.upper is not None
    if not quick:
        print(f"    bars: {most_seconds:g} s, {most_gigabytes:g} GB, a finite bound: {'held' if held else 'MISSED'}")
    return held or quick


def main() -> int:
    """Each network in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="network", help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small networks, no bar judged")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    options = parser.parse_args()
    known = QUICK if options.quick else NETWORKS
    chosen = options.networks or list(known)
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(known)}")
    if len(chosen) == 1:
        return 0 if measure(chosen[0], options.quick, options.seed) else 1
    extra = ["--seed", str(options.seed), *(["--quick"] if options.quick else [])]
    codes = [subprocess.call([sys.executable, os.path.abspath(__file__), name, *extra]) for name in chosen]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
