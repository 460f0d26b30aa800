"""Recipes: what a run is, from a TOML file and from the command line, which has the last word.

[training]            # fields of cpl.TrainSettings
data = "cifar10"
epochs = 40

[model]               # a preset, and fields of cpl.CPLNetConfig that differ from it
preset = "S"
conv_inner = 45
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cpl import data
from cpl.config import CPLNetConfig
from cpl.errors import ArgumentError, reason
from cpl.presets import preset
from cpl.settings import TrainSettings

GIVEN_BY_DATA = ("image_shape", "classes")
TRAINING = tuple(entry.name for entry in fields(TrainSettings))
MODEL = ("preset", *(entry.name for entry in fields(CPLNetConfig) if entry.name not in GIVEN_BY_DATA))


@dataclass(frozen=True, slots=True)
class Recipe:
    """Entries of the two tables, unvalidated but for their names.

    Attributes:
        training: of `TrainSettings`.
        model: 'preset', and of `CPLNetConfig`.
    """

    training: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)

    def updated(self, other: Recipe) -> Recipe:
        """Both, the other's entries where both have one."""
        return Recipe(self.training | other.training, self.model | other.model)

    def settings(self) -> TrainSettings:
        """The settings.

        Raises:
            ArgumentError: an entry is out of range.
        """
        return TrainSettings(**self.training)

    def config(self, split: data.Split) -> CPLNetConfig:
        """The architecture for these images: preset 'digits' for images up to 16 x 16, otherwise 'S', where none is named.

        Raises:
            ArgumentError: an entry is out of range, or sizes do not fit.
        """
        shape = split.train_x.shape[1:]
        changes = {name: entry for name, entry in self.model.items() if name != "preset"}
        name = self.model.get("preset", "digits" if max(shape[1:]) <= 16 else "S")
        return preset(name, image_shape=(shape[0], shape[1], shape[2]), classes=split.classes, **changes)


def read_recipe(path: Path) -> Recipe:
    """The recipe of a TOML file.

    Raises:
        ArgumentError: it cannot be read, or a table or an entry has no such name.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad("the recipe cannot be read", str(path), reason(error), "see examples/train/cifar10.toml") from error
    for name, table in tables.items():
        _known(name, ("training", "model"), what="table", where=str(path))
        if not isinstance(table, dict):
            raise _bad(f"{name} is no table", str(path), "entries stand in tables", f"write [{name}] above them")
        for key in table:
            _known(key, TRAINING if name == "training" else MODEL, what="entry", where=f"{path}, [{name}]")
    return Recipe(tables.get("training", {}), tables.get("model", {}))


def read_changes(changes: Collection[str]) -> Recipe:
    """The recipe of `--set NAME=VALUE` options; values as in TOML, a bare word is a text.

    Raises:
        ArgumentError: no such name, or no value.

    >>> read_changes(["rate=0.01", "schedule=cosine", "conv_inner=45"])
    Recipe(training={'rate': 0.01, 'schedule': 'cosine'}, model={'conv_inner': 45})
    """
    recipe = Recipe()
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise _bad(f"--set {change}", "--set", "there is no value", "write --set NAME=VALUE")
        _known(name, (*TRAINING, *MODEL), what="setting", where="--set")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        (recipe.training if name in TRAINING else recipe.model)[name] = value
    return recipe


def _known(name: str, names: Collection[str], *, what: str, where: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}"
        raise _bad(f"the {what} {name!r} is unknown", where, "nothing has this name", hint)


def _bad(what: str, where: str, why: str, next_step: str) -> ArgumentError:
    return ArgumentError(what, where=where, why=why, next_step=next_step)
