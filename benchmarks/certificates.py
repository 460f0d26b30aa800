"""Certificates: what it takes to make them and to check them, how close their bounds are, and whether they are reproducible.

    python benchmarks/certificates.py                  # all parts; some eight minutes
    python benchmarks/certificates.py dense mnist      # of dense, demo, mnist, bodies, cpl, extracted
    python benchmarks/certificates.py --demo DIR       # DIR of `cpl train --data digits --out DIR`; made where not given
    python benchmarks/certificates.py --data DIR       # with mnist.npz (keys as in the file's own README)

Bars, in processor seconds of one thread (what others do on the machine does not count):

dense   a proof for n = 256 in 3 s by the standard library, for n = 1024 in 20 s with python-flint
demo    the certificate of the network that `cpl train` makes, whole, in 20 s by the standard library
mnist   a ReLU network 784 - 128 x 8 - 10 without biases, random and trained: its product bound, rigorous, in 1 s; exact
        proofs made and checked in 10 s; at most 1e-8 above an exact lower bound of the same product, relatively
bodies  the same bytes with one BLAS thread and two, with the BLAS kernels of an older processor, and by another numpy
        (installed beside this one, from its index)
cpl     the shape of CPL-S (20 convolutional blocks 45 -> 5 -> 45 at 32x32, 7 dense ones 2880 -> 2048) checked in 5 minutes
        with python-flint; what the standard library alone would need is extrapolated from parts, and said to be
extracted  the checker extracted from Coq (`make proofs` builds it) beside the one in Python, on the same certificates in turn:
        n = 256 in 3 s, n = 512 in 30 s, the demo whole in 30 s

Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import os

# One BLAS thread, set before numpy loads it, but where a run is about two.
THREADS = os.environ.get("CERTIFICATES_THREADS", "1")
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = THREADS

import argparse  # noqa: E402
import hashlib  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from fractions import Fraction  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TypeVar  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from networks import ConvBlock, CPLNet, DenseBlock  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

import lipverify  # noqa: E402
from lipverify.certificates import certify, dumps, weights_of  # noqa: E402
from lipverify.graph import trace  # noqa: E402
from lipverify.read.program import Program  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parents[1] / "proofs" / "checker"))
import lipverify_checker as checker  # noqa: E402

T = TypeVar("T")
OTHER_NUMPY = "2.2.6"
SCRATCH = tempfile.TemporaryDirectory()


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds of one call, on one thread, and what it returned: the load of others does not count."""
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def bar(what: str, found: float, most: float, unit: str = " s") -> bool:
    """Print one bar; whether it held."""
    held = found <= most
    print(f"    bar: {what} {found:.3g}{unit} <= {most:g}{unit}: {'held' if held else 'MISSED'}", flush=True)
    return held


@dataclass(frozen=True)
class Made:
    """A certificate and the seconds that its parts took."""

    data: bytes
    upper: Fraction
    audit: float
    make: float
    weights: Path


def made(model: nn.Module | str | Program, inputs: torch.Tensor | None = None) -> Made:
    """Audit by proved norms, and write the certificate."""
    program = trace(model, inputs) if isinstance(model, nn.Module) else model
    spent, report = timed(lambda: lipverify.audit(program, verifiers=["spectral"]))
    if not isinstance(program, Program):
        program = report.examined.program
    make, data = timed(lambda: dumps(certify(program, report)).encode("ascii"))
    handle, name = tempfile.mkstemp(suffix=".safetensors", dir=SCRATCH.name)
    os.close(handle)
    save_file(weights_of(program), name)
    return Made(data, report.regions[0].upper, spent, make, Path(name))


def checked(certificate: Made, flint: bool) -> float:
    """Seconds of the check; exits where something stated does not hold, or is not checked."""
    checker.use_flint(flint)
    seconds, outcome = timed(lambda: checker.check(certificate.data, checker.Weights(certificate.weights)))
    if outcome.exit_code not in (0, 3) or outcome.refused or outcome.unchecked:
        sys.exit(outcome.text())
    return seconds


# ---- Parts -------------------------------------------------------------------------------------------------------------


def matrix_of(n: int, seed: int) -> nn.Linear:
    """One matrix, standard normal / sqrt(n), float32."""
    torch.manual_seed(seed)
    layer = nn.Linear(n, n, bias=False)
    nn.init.normal_(layer.weight, std=n**-0.5)
    return layer


def square(n: int, seed: int) -> Made:
    """Its certificate."""
    return made(nn.Sequential(matrix_of(n, seed)).eval(), torch.zeros(1, n))


def dense(options: argparse.Namespace) -> bool:
    """Proofs of one matrix."""
    print("dense: one n x n matrix")
    print(f"{'n':>6} {'audit':>9} {'make':>9} {'check':>9}  {'by':<18} {'numpy.linalg.norm(W, 2)':>24}")
    held = True
    for n, flint, most in ((256, False, 3.0), (1024, True, 20.0)):
        one, matrix = square(n, options.seed), matrix_of(n, options.seed).weight.detach().double().numpy()
        rival, _ = timed(lambda matrix=matrix: np.linalg.norm(matrix, 2))
        seconds, by = checked(one, flint), "python-flint" if flint else "standard library"
        print(f"{n:>6} {one.audit:>7.2f} s {one.make:>7.2f} s {seconds:>7.2f} s  {by:<18} {rival:>22.3f} s")
        held &= bar(f"n = {n} by {by}", seconds, most)
    return held


def demo_folder(options: argparse.Namespace) -> Path:
    """The folder of the demonstration's network, trained if it is not given."""
    folder = options.demo or Path(SCRATCH.name) / "demo"
    if not (folder / "model.pt2").exists():
        command = [sys.executable, "-m", "cpl", "train", "--data", "digits", "--epochs", "5", "--out", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def demo(options: argparse.Namespace) -> bool:
    """The network of the demonstration, with its claims."""
    one = made(str(demo_folder(options) / "model.pt2"))
    print(f"demo: audit {one.audit:.2f} s, make {one.make:.2f} s, {len(one.data)} bytes")
    print(f"    check with python-flint {checked(one, True):.2f} s")
    return bar("check by the standard library", checked(one, False), 20)


def spread(values: Sequence[float]) -> str:
    """Median, least and most of sorted values."""
    return f"{values[len(values) // 2]:.2f} ({values[0]:.2f} to {values[-1]:.2f})"


def extracted(options: argparse.Namespace) -> bool:
    """The checker extracted from Coq beside the Python one, three times in turn, without python-flint."""
    program = Path(__file__).resolve().parents[1] / "build" / "lipverify-checker"
    if not program.exists():
        sys.exit(f"{program} is not built: make proofs")
    print("extracted: processor seconds of the extracted checker and of the standard library, median (least to most)")

    def run(certificate: Made) -> float:
        handle, name = tempfile.mkstemp(suffix=".json", dir=SCRATCH.name)
        os.write(handle, certificate.data)
        os.close(handle)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([program, name, certificate.weights], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [line for line in done.stdout.splitlines() if " has a constant of at most " in line]
        if done.returncode not in (0, 3) or not lines or not all(line.startswith("holds") for line in lines):
            sys.exit(done.stdout + done.stderr)
        return sum(getattr(after, part) - getattr(before, part) for part in ("ru_utime", "ru_stime"))

    held = True
    for what, certificate, most in (
        *((f"n = {n}", square(n, options.seed), m) for n, m in ((256, 3), (512, 30))),
        ("demo", made(str(demo_folder(options) / "model.pt2")), 30),
    ):
        pairs = [(run(certificate), checked(certificate, False)) for _ in range(3)]
        ours, theirs = (sorted(column) for column in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        print(f"    {what:<8} {spread(ours)}   {spread(theirs)}   ratio {spread(ratios)}")
        held &= bar(f"{what} by the extracted checker", ours[1], most)
    return held


def perceptron() -> nn.Sequential:
    """784 - 128 x 8 - 10, ReLU, no biases."""
    hidden = [part for n in (784, *[128] * 7) for part in (nn.Linear(n, 128, bias=False), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(128, 10, bias=False))


def trained(path: Path, seed: int, epochs: int) -> tuple[nn.Sequential, float]:
    """On MNIST, by Adam; the network and the share of test images that it gets right."""
    with np.load(path, allow_pickle=False) as stored:
        x, test_x = (torch.from_numpy(stored[f"x_{part}"]).flatten(1).float() / 255 for part in ("train", "test"))
        y, test_y = (torch.from_numpy(stored[f"y_{part}"]).long() for part in ("train", "test"))
    torch.manual_seed(seed)
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return model, float((model(test_x).argmax(1) == test_y).double().mean())


def exact_lower(matrix: np.ndarray) -> Fraction:
    """A lower bound of ||W||^2, exact: |W v|^2 / |v|^2 for an integer vector v near the top singular one; W of float32s."""
    _, _, vt = np.linalg.svd(matrix)
    v = [round(float(entry) * 2**40) for entry in vt[0]]
    least = 2**149  # every float32 is a multiple of its reciprocal
    rows = [[int(Fraction(float(entry)) * least) for entry in row] for row in matrix]
    moved = sum(sum(a * b for a, b in zip(row, v, strict=True)) ** 2 for row in rows)
    return Fraction(moved, least**2 * sum(b * b for b in v))


def mnist(options: argparse.Namespace) -> bool:
    """The product bound of a deep perceptron, proved, beside that of numpy."""
    networks: dict[str, nn.Sequential] = {}
    torch.manual_seed(options.seed)
    networks["random"] = perceptron()
    images = options.data / "mnist.npz"
    if images.is_file():
        networks["trained"], right = trained(images, options.seed, options.epochs)
        print(f"mnist: {options.epochs} epochs, {100 * right:.1f} % of the test images right")
    else:
        print(f"mnist: there is no {images}: the trained network is missing, and so its bars", file=sys.stderr)
    print(
        f"{'784-128x8-10':>13} {'numpy product':>14} {'seconds':>8} {'proved product':>15} {'audit':>8} {'make':>8} "
        f"{'check, flint':>13} {'check, stdlib':>14} {'excess over exact lower':>24}"
    )
    held = "trained" in networks
    for name, model in networks.items():
        matrices = [m.weight.detach().double().numpy() for m in model if isinstance(m, nn.Linear)]
        rival, product = timed(lambda ms=matrices: math.prod(float(np.linalg.norm(m, 2)) for m in ms))
        one = made(model.eval(), torch.zeros(1, 784))
        stated = Fraction(
            float.fromhex(next(r["upper"] for r in json.loads(one.data)["body"]["regions"] if r["path"] == ""))
        )
        lower = math.prod(exact_lower(m) for m in matrices)
        excess = float(stated**2 / lower - 1) / 2
        fast, slow = checked(one, True), checked(one, False)
        print(
            f"{name:>13} {product:>14.9g} {rival:>6.3f} s {float(one.upper):>15.9g} {one.audit:>6.2f} s {one.make:>6.2f} s "
            f"{fast:>11.2f} s {slow:>12.2f} s {excess:>24.1e}"
        )
        held &= bar("rigorous product bound", one.audit, 1)
        held &= bar("make and check, by the standard library", one.make + slow, 10)
        held &= bar("excess", excess, 1e-8, "")
    print("    as published, not measured here, of a certifier verified in Dafny on this shape: some 1,000 s for 8e-4")
    return held


def cpl(options: argparse.Namespace) -> bool:
    """A network of the shape of CPL-S, and what its parts take without python-flint."""
    torch.manual_seed(options.seed)
    one = made(CPLNet(5).eval(), torch.zeros(1, 3, 32, 32))
    print(f"cpl: audit {one.audit:.0f} s, make {one.make:.0f} s, {len(one.data)} bytes", flush=True)
    held = bar("check with python-flint", checked(one, True), 300)
    convolution = checked(made(ConvBlock(45, 5, 32).eval(), torch.zeros(1, 45, 32, 32)), False)
    dense = {n: checked(made(DenseBlock(2880, n).eval(), torch.zeros(1, 2880)), False) for n in (256, 512, 1024)}
    growth = dense[1024] / dense[512]
    alone = 20 * convolution + 7 * dense[1024] * growth
    print(
        f"    by the standard library: a convolutional block {convolution:.1f} s; dense blocks 2880 -> 256, 512, 1024: ",
        end="",
    )
    print(", ".join(f"{seconds:.1f} s" for seconds in dense.values()))
    print(
        f"    so all of it some {alone / 60:.0f} minutes: extrapolated (x {growth:.1f} for 2880 -> 2048), not measured"
    )
    return held


def bodies(options: argparse.Namespace) -> bool:
    """One body for every number of threads and every numpy."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, other = Path(scratch), Path(scratch) / "numpy"
        torch.manual_seed(options.seed)
        small = CPLNet(4, channels=8, conv_blocks=2, dense_blocks=1, dense_inner=48, side=16)
        examples = {
            "perceptron": (perceptron(), (1, 784)),
            "dense": (nn.Sequential(nn.Linear(700, 600)), (1, 700)),
            "cpl": (small, (1, 3, 16, 16)),
            "resnet": (ResNet(), (1, 3, 16, 16)),
        }
        for name, (model, shape) in examples.items():
            torch.export.save(torch.export.export(model.eval(), (torch.zeros(shape),)), folder / f"{name}.pt2")
        install = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(other),
            f"numpy=={OTHER_NUMPY}",
        ]
        installed = subprocess.run(install, check=False).returncode == 0
        runs: dict[str, tuple[str, str, dict[str, str]]] = {
            "1 thread": ("1", "", {}),
            "2 threads": ("2", "", {}),
            "another processor": ("1", "", {"OPENBLAS_CORETYPE": "Prescott"}),
        }
        if installed:
            runs["another numpy"] = ("1", str(other), {})
        print(f"bodies: {', '.join(examples)}")
        found = {}
        for name, (threads, first, more) in runs.items():
            path = os.pathsep.join(p for p in (first, os.environ.get("PYTHONPATH", "")) if p)
            environment = {**os.environ, "CERTIFICATES_THREADS": threads, "PYTHONPATH": path, **more}
            command = [sys.executable, __file__, "--body", *(str(folder / f"{name}.pt2") for name in examples)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            version, *digests = done.stdout.split()
            print(f"    {name:<17} numpy {version:<8} {' '.join(d[:16] for d in digests)}", flush=True)
            found[name] = tuple(digests)
    same = installed and len(set(found.values())) == 1
    print(f"    bar: the same bytes: {'held' if same else 'MISSED'}")
    return same


class ResNet(nn.Module):
    """A convolution with BatchNorm, a skip, pooling and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8 * 16, 10)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.avg_pool2d(x + torch.relu(self.second(x)), 4)
        return self.head(torch.flatten(x, 1))


def digests(models: Sequence[str]) -> None:
    """The numpy that is used, and the SHA-256 of the canonical body of each model's certificate."""
    torch.set_num_threads(int(THREADS))
    print(np.__version__)
    for model in models:
        body = json.loads(made(model).data)["body"]
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        print(hashlib.sha256(text.encode("ascii")).hexdigest())


PARTS = {"dense": dense, "demo": demo, "mnist": mnist, "bodies": bodies, "cpl": cpl, "extracted": extracted}


def main() -> int:
    """Each part, in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of mnist.npz")
    parser.add_argument("--demo", type=Path, help="folder that `cpl train` wrote")
    parser.add_argument("--epochs", type=int, default=3, help="of training on MNIST (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of all weights (default 0)")
    parser.add_argument("--body", nargs="+", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.body:
        digests(options.body)
        return 0
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    flint = "with python-flint" if checker.has_flint() else "without python-flint"
    print(f"python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, one thread, {flint}")
    held = [PARTS[part](options) for part in options.parts or PARTS]
    print("every bar held" if all(held) else "A BAR WAS MISSED")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
