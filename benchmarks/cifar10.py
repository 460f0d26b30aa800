"""Certified accuracy on CIFAR-10 under an equal budget: 30 minutes on two cores, that is 3,600 s of processor time a run.

    python benchmarks/cifar10.py train RECIPE --seed N --data cifar10_packed.npz --out DIR   # one run: an hour on one core
    python benchmarks/cifar10.py report DIR                                                  # the table, and the figure

A run measures the time of its own steps, takes as many whole epochs as the budget holds, trains, seals, measures the sealed
model on the 10,000 test images, exports it and has it audited. It leaves RECIPE-SEED.json, resumes where it was stopped
(`plain` begins anew), and does nothing where it is finished. One thread: run two at a time on two cores.

Recipes: `ours`; `reference`, rebuilt from Meunier et al. (2022): hinge of margin 0.7, Adam, triangular schedule, batches of
256, convolutions at full resolution, average pooling by 4; `sll`, ours with the layer of Araujo et al. (2023); `plain`, a
residual network of the sizes of ours without any bound, cross-entropy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import reconstructed
import torch
from torch import nn

import cpl
import lipverify
from lipverify.verifiers.spectral import Spectral

BUDGET = 3600.0
WARM, TIMED = 3, 12  # steps
CURVE = tuple(round(0.02 * i, 2) for i in range(61))
RADII = (36 / 255, 72 / 255, 108 / 255, 1.0)
ATTACK = cpl.Attack(images=100, steps=10)  # some minutes, outside the budget

NETWORK = cpl.CPLNetConfig(
    image_shape=(3, 32, 32), downsample=2, channels=32, conv_blocks=2, conv_inner=32, deeper=((3, 64),), pool=2,
    dense_blocks=4, dense_inner=1024,
)  # fmt: skip
OURS = cpl.TrainSettings(
    data="reconstructed:cifar10", batch_size=128, rate=5e-3, betas=(0.9, 0.99), offset=1.0, temperature=0.25, flip=True
)
RECIPES = {
    "ours": (NETWORK, OURS),
    "reference": (
        cpl.CPLNetConfig(
            image_shape=(3, 32, 32), channels=30, conv_blocks=5, conv_inner=30, pool=4, dense_blocks=3, dense_inner=1024
        ),
        replace(OURS, batch_size=256, rate=1e-2, betas=(0.9, 0.999), loss="hinge", offset=0.7, crop=4),
    ),
    "sll": (replace(NETWORK, block="sll"), OURS),
    "plain": (NETWORK, replace(OURS, offset=1e-6, temperature=1.0, rate=1e-3)),
}


class PlainBlock(nn.Module):
    """x + B relu(A x + b), A and B independent: no bound but the product of norms."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        inner, *rest = block.weight.shape
        channels = rest[0]
        conv = len(rest) > 1
        self.first = nn.Conv2d(channels, inner, 3, padding=1) if conv else nn.Linear(channels, inner)
        self.second = nn.Conv2d(inner, channels, 3, padding=1) if conv else nn.Linear(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.first(x)))


def plain_network(config: cpl.CPLNetConfig) -> cpl.CPLNet:
    """The network of the configuration with plain blocks and a plain head."""
    model = cpl.CPLNet(config)
    for path, module in list(model.named_modules()):
        if isinstance(module, cpl.ConvexPotentialLinear | cpl.ConvexPotentialConv2d):
            model.set_submodule(path, PlainBlock(module))
    model.head = nn.Linear(config.width, config.classes)
    return model.to(memory_format=torch.channels_last)


def run_of(recipe: str, seed: int, split: cpl.Split, epochs: int) -> cpl.Run:
    """A fresh run of a recipe."""
    config, settings = RECIPES[recipe]
    run = cpl.Run(replace(settings, seed=seed, epochs=epochs), config, split=split)
    if recipe == "plain":
        torch.manual_seed(seed)
        run.model = plain_network(config)
        run.optimizer = torch.optim.Adam(run.model.parameters(), lr=settings.rate, betas=settings.betas)
    return run


def affordable(recipe: str, seed: int, split: cpl.Split) -> int:
    """Whole epochs within the budget, from the time of a few steps on this machine."""
    run = run_of(recipe, seed, split, 1)
    run.model.train()
    size = run.settings.batch_size
    for step in range(WARM + TIMED):
        if step == WARM:
            start = time.process_time()
        batch = torch.arange(step * size, (step + 1) * size)
        run.step(split.train_x[batch].contiguous(memory_format=torch.channels_last), split.train_y[batch])
    return max(1, int(BUDGET / (run.steps * (time.process_time() - start) / TIMED)))


def train(recipe: str, seed: int, data: Path, out: Path) -> None:
    result = out / f"{recipe}-{seed}.json"
    if result.exists():
        print(f"{result} is there already")
        return
    torch.set_num_threads(1)
    split = reconstructed.cifar10(data, seed)
    place = out / f"{recipe}-{seed}"
    plan = place / "plan.json"
    if plan.exists() and recipe != "plain":
        planned = json.loads(plan.read_text())
        run = cpl.Run.resume(place, split=split)
    else:
        place.mkdir(parents=True, exist_ok=True)
        planned = {"epochs": affordable(recipe, seed, split), "seconds": 0.0}
        run = run_of(recipe, seed, split, planned["epochs"])
    start = time.process_time()

    def report(step: cpl.Progress) -> None:
        if step.step % 50 == 0:
            used = planned["seconds"] + time.process_time() - start
            print(
                f"{recipe} {seed}: epoch {step.epoch}/{planned['epochs']} loss {step.loss:.4f} {used:.0f} s", flush=True
            )
            plan.write_text(json.dumps({**planned, "seconds": used}))

    run.train(place, report=report)
    seconds = planned["seconds"] + time.process_time() - start
    measured = measured_plain(run) if recipe == "plain" else measured_sealed(run, place)
    facts = {"recipe": recipe, "seed": seed, "epochs": run.settings.epochs, "seconds": round(seconds), **measured}
    result.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps({name: entry for name, entry in facts.items() if name != "curve"}))


def measured_sealed(run: cpl.Run, place: Path) -> dict:
    """Accuracies of the sealed model, and what an audit of its exported file says of its claims."""
    model = cpl.seal(run.model, run.config.image_shape)
    accuracy = cpl.evaluate(model, run.split.test_x, run.split.test_y, radii=tuple(sorted({*RADII, *CURVE})))
    attacked = cpl.evaluate(model, run.split.test_x, run.split.test_y, radii=RADII, attack=ATTACK).empirical
    provenance = cpl.Provenance(run.settings.to_dict(), accuracy)
    cpl.export_model(model, place, inputs=run.split.test_x[:16], provenance=provenance)
    report = lipverify.audit(place / "model.pt2", verifiers=[Spectral(tight=True)])
    verdicts = [str(row.verdict) for row in report.regions if row.claim is not None]
    found = {"images": attacked.images, "certified": attacked.certified, "robust": attacked.robust}
    sealed = {"verdicts": tally(verdicts), "upper": 1.0, "attacked": found}
    return {**shares(accuracy.clean, dict(accuracy.certified)), **sealed}


def measured_plain(run: cpl.Run) -> dict:
    """Accuracies of a plain network, certified by the proved bound of the whole."""
    model = run.model.eval()
    report = lipverify.audit(model, run.split.test_x[:1], verifiers=["spectral"])
    upper = float(next(row.upper for row in report.regions if row.path == ""))
    with torch.no_grad():
        logits = torch.cat(
            [model(run.split.test_x[i : i + 500]) for i in range(0, len(run.split.test_x), 500)]
        ).double()
    labels = run.split.test_y
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    margins = logits.gather(1, labels[:, None])[:, 0] - others
    certified = {r: float((margins > 2**0.5 * upper * r).double().mean()) for r in {*RADII, *CURVE}}
    return {**shares(float((margins > 0).double().mean()), certified), "verdicts": {}, "upper": upper}


def shares(clean: float, certified: dict[float, float]) -> dict:
    return {
        "clean": clean,
        "certified": [certified[radius] for radius in RADII],
        "curve": [certified[radius] for radius in CURVE],
    }


def tally(verdicts: list[str]) -> dict[str, int]:
    return {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}


def report(place: Path) -> None:
    """Prints the table in Markdown and draws `certified accuracy over radius` beside it."""
    results: dict[str, list[dict]] = {}
    for path in sorted(place.glob("*-*.json")):
        facts = json.loads(path.read_text())
        results.setdefault(facts["recipe"], []).append(facts)
    print("| recipe | seeds | epochs | clean | 36/255 | 72/255 | 108/255 | 1 | audit |")
    print("|---|---|---|---|---|---|---|---|---|")
    for recipe in (name for name in RECIPES if name in results):
        runs = results[recipe]
        columns = [[100 * run["clean"] for run in runs]]
        columns += [[100 * run["certified"][i] for run in runs] for i in range(len(RADII))]
        verdicts = {name for run in runs for name in run["verdicts"]}
        audit = ", ".join(sorted(verdicts)) or f"upper bound {min(run['upper'] for run in runs):.2g} or more"
        epochs = "-".join(str(e) for e in sorted({run["epochs"] for run in runs}))
        print(f"| {recipe} | {len(runs)} | {epochs} | " + " | ".join(spread(c) for c in columns) + f" | {audit} |")
    draw(results, place / "cifar10.png")


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def draw(results: dict[str, list[dict]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for recipe in (name for name in RECIPES if name in results):
        curves = 100 * np.array([run["curve"] for run in results[recipe]])
        (line,) = axes.plot(CURVE, curves.mean(axis=0), label=recipe, linewidth=2)
        if len(curves) > 1:
            axes.fill_between(CURVE, curves.min(axis=0), curves.max(axis=0), color=line.get_color(), alpha=0.25)
    for radius, name in zip(RADII, ("36/255", "72/255", "108/255", "1"), strict=True):
        axes.axvline(radius, color="0.8", linewidth=0.8, zorder=0)
        axes.annotate(name, (radius, 1), xycoords=("data", "axes fraction"), xytext=(2, -10), textcoords="offset points",
                      fontsize=8, color="0.4")  # fmt: skip
    axes.set(xlabel="l2 radius", ylabel="certified accuracy (%)", xlim=(0, 1.2), ylim=(0, None))
    axes.set_title(f"{reconstructed.NAME}: 30 minutes on two cores a run", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"drawn: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("recipe", choices=RECIPES)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    commands.add_parser("report").add_argument("place", type=Path)
    given = parser.parse_args()
    if given.command == "report":
        report(given.place)
    else:
        train(given.recipe, given.seed, given.data, given.out)


if __name__ == "__main__":
    main()
