"""What defines a training run, apart from the architecture and the machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cpl import checks, plain
from cpl.schedules import SCHEDULES

LOSSES = ("cross_entropy", "hinge")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """The settings of a run; a checkpoint holds them, and a resumed run cannot change them.

    Attributes:
        data: name of the data set.
        seed: of the split, the initial weights, the order of the data and the augmentation.
        epochs, batch_size: as usual; the batch is the global one, whatever the number of processes.
        accumulation: parts that a batch is computed in, one after the other: less memory, the same gradient.
        rate: peak learning rate of Adam.
        schedule: 'triangular' or 'cosine'; both rise linearly over the first `warmup` share of the steps.
        betas, weight_decay: of Adam.
        loss: 'cross_entropy' (`margin_cross_entropy`) or 'hinge' (`margin_hinge`).
        offset, temperature: of the loss; the hinge has no temperature.
        crop, flip: of `cpl.data.augment`.
        precision: of the forward pass: 'float32', or 'bfloat16' or 'float16' under autocast; weights stay float32, and
            sealing never sees anything else.
        threads: of torch. A part of the run, because the order of a sum, hence its rounding, depends on it; and one
            thread is the fastest for networks as small as the default.

    Raises:
        ArgumentError: on an entry out of range.
    """

    data: str = "digits"
    seed: int = 0
    epochs: int = 80
    batch_size: int = 64
    accumulation: int = 1
    rate: float = 5e-3
    schedule: str = "triangular"
    warmup: float = 0.15
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    loss: str = "cross_entropy"
    offset: float = 0.5
    temperature: float = 0.1
    crop: int = 0
    flip: bool = False
    precision: str = "float32"
    threads: int = 1

    def __post_init__(self) -> None:
        where = "TrainSettings"
        checks.natural_int(self.seed, name="seed", where=where, most=checks.MOST_SEED)
        for name in ("epochs", "batch_size", "accumulation"):
            checks.positive_int(getattr(self, name), name=name, where=where)
        checks.positive_int(self.threads, name="threads", where=where, most=checks.MOST_THREADS)
        checks.positive_float(self.warmup, name="warmup", where=where, below=1.0)
        for name in ("rate", "offset", "temperature"):
            checks.positive_float(getattr(self, name), name=name, where=where)
        checks.natural_float(self.weight_decay, name="weight_decay", where=where)
        object.__setattr__(self, "betas", checks.floats(self.betas, (2,), name="betas", where=where))
        for beta in self.betas:
            checks.positive_float(beta, name="betas entry", where=where, below=1.0)
        checks.natural_int(self.crop, name="crop", where=where, most=1024)
        checks.boolean(self.flip, name="flip", where=where)
        checks.one_of(self.schedule, tuple(SCHEDULES), name="schedule", where=where)
        checks.one_of(self.loss, LOSSES, name="loss", where=where)
        checks.one_of(self.precision, PRECISIONS, name="precision", where=where)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, entries: Any) -> TrainSettings:
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: if names are unknown or missing.
            ArgumentError: if an entry is out of range.
        """
        return plain.from_dict(cls, entries)
