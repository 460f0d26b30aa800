"""Rigorous norm enclosures against their numeric counterparts, side by side in one run, on one thread.

    python benchmarks/norms.py            # all of it, some three minutes
    python benchmarks/norms.py --quick    # small sizes, a smoke test: no bar is judged

Dense: time of ``lipverify.rigor.dense_norm`` over that of ``numpy.linalg.norm(W, 2)``; bars: time ratio <= 1 and
upper / lower - 1 <= 1e-8. Convolution 64x64x3x3 with zero padding: upper / lower - 1 <= 2e-3 by default and <= 5e-4 with
``tight=True``, beside Lanczos (scipy's ARPACK: a numeric lower bound) and FFT + SVD (of the periodic n x n torus: exact
for circular padding only). Other forms (strided, grouped, dilated, a large image): time and gap, no bar. Times are medians
over interleaved repetitions with [min, max]. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import os

# One BLAS thread, set before numpy loads it: bounds and their rivals then spend the same processor.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import TypeVar  # noqa: E402

import numpy as np  # noqa: E402
from scipy.sparse.linalg import LinearOperator, svds  # noqa: E402

from lipverify.actions import adjoint_apply, apply  # noqa: E402
from lipverify.maps import Convolution, Enclosure  # noqa: E402
from lipverify.rigor import convolution_norm, dense_norm, machine  # noqa: E402

T = TypeVar("T")


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Wall seconds of one call, and what it returned."""
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def progress(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def spread(seconds: list[float]) -> str:
    """Median [min, max]."""
    return f"{statistics.median(seconds):8.3f} s [{min(seconds):.3f}, {max(seconds):.3f}]"


def dense(sizes: list[int], repetitions: int, seed: int) -> bool:
    """The dense table; whether both bars hold at every size."""
    print(f"dense n x n, standard normal / sqrt(n), {repetitions} interleaved repetitions")
    print(f"{'n':>6} {'lipverify':>28} {'numpy.linalg.norm(W, 2)':>28} {'time ratio':>20} {'upper/lower-1':>14}")
    held = True
    for n in sizes:
        matrix = np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)
        ours: list[float] = []
        numpys: list[float] = []
        gap = 0.0
        for i in range(repetitions):
            progress(f"dense n={n}, repetition {i + 1} of {repetitions}")
            seconds, found = timed(lambda matrix=matrix: dense_norm(matrix))
            ours.append(seconds)
            numpys.append(timed(lambda matrix=matrix: np.linalg.norm(matrix, 2))[0])
            gap = max(gap, float(found.upper / found.lower - 1))
        ratios = [a / b for a, b in zip(ours, numpys, strict=True)]
        ratio = statistics.median(ratios)
        held &= ratio <= 1.0 and gap <= 1e-8
        shown = f"{ratio:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        print(f"{n:>6} {spread(ours):>28} {spread(numpys):>28} {shown:>20} {gap:>14.1e}", flush=True)
    return held


def kernels(channels: int, seed: int) -> dict[str, np.ndarray]:
    """Random, and peaked at frequency zero: a box, a binomial, and a random kernel with a smooth part."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((channels, channels, 1, 1)) / np.sqrt(channels)
    binomial = np.outer([1, 2, 1], [1, 2, 1]) / 16
    random = rng.standard_normal((channels, channels, 3, 3)) / np.sqrt(9 * channels)
    smooth = 0.32 * rng.standard_normal((channels, channels, 1, 1)) * binomial
    return {
        "random": random,
        "box": mixing * np.ones((3, 3)) / 9,
        "binomial": mixing * binomial,
        "smooth": random + smooth,
    }


class Operator(LinearOperator):
    """A convolution of one image, as scipy wants it."""

    def __init__(self, convolution: Convolution) -> None:
        self.convolution = convolution
        shape = (int(np.prod(convolution.output_shape)), int(np.prod(convolution.input_shape)))
        super().__init__(np.float64, shape)

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return apply(self.convolution, x.reshape(self.convolution.input_shape)).ravel()

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return adjoint_apply(self.convolution, x.reshape(self.convolution.output_shape)).ravel()


def lanczos(convolution: Convolution) -> float:
    """The largest singular value by ARPACK, to machine precision."""
    largest = svds(Operator(convolution), k=1, return_singular_vectors=False, rng=np.random.default_rng(0))
    return float(np.asarray(largest)[0])


def fft_svd(kernel: np.ndarray, n: int) -> float:
    """The norm of the circular convolution on n x n (Sedghi, Gupta and Long 2019)."""
    blocks = np.fft.rfft2(kernel, (n, n)).transpose(2, 3, 0, 1)
    return float(np.linalg.svd(blocks, compute_uv=False).max())


def convolutions(channels: int, sides: list[int], repetitions: int, seed: int) -> bool:
    """The convolution table; whether the gap bar holds everywhere."""
    print(f"convolution {channels}x{channels}x3x3, zero padding 1, {repetitions} interleaved repetitions")
    print(f"{'kernel':>9} {'n':>3} {'lower':>13} {'upper/lower-1':>14} {'lipverify':>28}", end="")
    print(f" {'tight: u/l-1':>13} {'':>10}", end="")
    print(f" {'Lanczos/lower-1':>16} {'':>27} {'FFT+SVD/lower-1':>16} {'':>27}  method")
    held = True
    for n in sides:
        for name, kernel in kernels(channels, seed).items():
            convolution = Convolution(Enclosure(kernel), (1, channels, n, n), ((1, 1), (1, 1)))
            times: tuple[list[float], ...] = ([], [], [])
            found, rivals = convolution_norm(convolution), (0.0, 0.0)
            for i in range(repetitions):
                progress(f"convolution {name} {n}x{n}, repetition {i + 1} of {repetitions}")
                seconds, found = timed(lambda c=convolution: convolution_norm(c))
                times[0].append(seconds)
                first, by_lanczos = timed(lambda c=convolution: lanczos(c))
                second, by_fft = timed(lambda k=kernel, n=n: fft_svd(k, n))
                times[1].append(first)
                times[2].append(second)
                rivals = (by_lanczos, by_fft)
            lower = float(found.lower)
            gap = float(found.upper / found.lower - 1)
            progress(f"convolution {name} {n}x{n}, tight")
            once, tight = timed(lambda c=convolution: convolution_norm(c, tight=True))
            closest = float(tight.upper / tight.lower - 1)
            held &= gap <= 2e-3 and closest <= 5e-4
            print(f"{name:>9} {n:>3} {lower:13.9f} {gap:>14.1e} {spread(times[0]):>28}", end="")
            print(f" {closest:>13.1e} {once:>8.2f} s", end="")
            print(f" {rivals[0] / lower - 1:>+16.1e} {spread(times[1]):>27}", end="")
            print(f" {rivals[1] / lower - 1:>+16.1e} {spread(times[2]):>27}  {found.method}", flush=True)
    return held


FORMS = (
    # name, (out, in / groups, taps), side, stride, dilation, groups
    ("7x7 stride 2", (64, 3, 7), 224, 2, 1, 1),
    ("3x3 stride 2", (128, 64, 3), 56, 2, 1, 1),
    ("1x1 stride 2", (128, 64, 1), 56, 2, 1, 1),
    ("3x3 stride 2", (512, 256, 3), 14, 2, 1, 1),
    ("3x3", (512, 512, 3), 7, 1, 1, 1),
    ("depthwise 3x3", (512, 1, 3), 14, 1, 1, 512),
    ("32 groups 3x3", (128, 4, 3), 56, 1, 1, 32),
    ("dilated 3x3", (64, 64, 3), 32, 1, 2, 1),
    ("large image 3x3", (64, 64, 3), 224, 1, 1, 1),
)


def forms(seed: int, quick: bool) -> None:
    """The table of other forms; random kernels, padding that keeps the size."""
    print("other forms, one run each")
    print(f"{'form':>16} {'out x in':>9} {'side':>5} {'lower':>13} {'upper/lower-1':>14} {'seconds':>9}  method")
    for name, (out, inner, taps), side, stride, dilation, groups in FORMS:
        if quick:
            out, inner, side, groups = 4, min(inner, 2), min(side, 8), 2 if groups > 1 else 1
        progress(f"{name} {side}x{side}")
        kernel = np.random.default_rng(seed).standard_normal((out, inner, taps, taps)) / np.sqrt(inner * taps**2)
        pad, channels = dilation * (taps // 2), inner * groups
        shape = (1, channels, side, side)
        convolution = Convolution(
            Enclosure(kernel), shape, ((pad, pad),) * 2, False, (stride,) * 2, (dilation,) * 2, groups
        )
        seconds, found = timed(lambda c=convolution: convolution_norm(c))
        gap, size = float(found.upper / found.lower - 1), f"{out}x{channels}"
        print(f"{name:>16} {size:>9} {side:>5} {float(found.lower):13.9f} {gap:>14.1e} {seconds:>9.2f}", end="")
        print(f"  {found.method}", flush=True)


def main() -> int:
    """Runs all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repetition, no bar judged")
    parser.add_argument("--repetitions", type=int, default=3, help="interleaved repetitions (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of all matrices and kernels (default 0)")
    options = parser.parse_args()
    machine()
    print(f"python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, one BLAS thread")
    if options.quick:
        dense([32, 128], 1, options.seed)
        convolutions(8, [8], 1, options.seed)
        forms(options.seed, quick=True)
        return 0
    held = dense([512, 1024, 2048], options.repetitions, options.seed)
    held &= convolutions(64, [32, 8], options.repetitions, options.seed)
    forms(options.seed, quick=False)
    missed = "A BAR WAS MISSED: ratio <= 1, dense gap <= 1e-8, convolution gap <= 2e-3, tight <= 5e-4"
    print("every bar held" if held else missed)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
