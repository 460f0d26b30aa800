"""The searches of the ensemble, from libraries, behind one signature. What they return is judged in `cpl.attacks`.

pgd      projected gradient ascent on the cross-entropy (Madry et al. 2018), foolbox
apgd-ce  automatic step sizes, cross-entropy (Croce and Hein 2020), adv-lib
apgd-t   the same against each of the likeliest other classes, by the ratio of differences of logits, adv-lib
fab      the nearest point of a decision boundary (Croce and Hein 2020), adv-lib; one run serves all radii
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cpl.errors import CplError

NAMES = ("pgd", "apgd-ce", "apgd-t", "fab")
MINIMUM_NORM = ("fab",)
TARGETS = 9  # other classes tried, as in AutoAttack: all of 10, and not the time of 99 for 100

Method = Callable[[nn.Module, Tensor, Tensor, float], Tensor]  # (model, images, labels, radius) -> candidates, float32


class MissingLibrary(CplError):
    """A library that the attacks need is not installed."""


def method_named(name: str, *, steps: int, restarts: int) -> Method:
    """The attack of that name.

    Raises:
        MissingLibrary: foolbox or adv-lib is not installed.
    """
    if name == "pgd":
        return _pgd(steps, restarts)
    library = _adv_lib()

    def run(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        with torch.no_grad():
            others = model(x[:1]).shape[1] - 1
        if name == "fab":
            many = {"targeted_restarts": True, "restarts": TARGETS} if others > TARGETS else {"restarts": restarts}
            return library.fab(model, x, y, norm=2, n_iter=steps, **many)
        rest = {"eps": radius, "norm": 2, "n_iter": steps, "n_restarts": restarts}
        if name == "apgd-ce":
            return library.apgd(model, x, y, loss_function="ce", **rest)
        loss = "dlr" if others >= 3 else "ce"  # the ratio takes four logits
        return library.apgd_targeted(model, x, y, loss_function=loss, num_targets=min(others, TARGETS), **rest)

    return run


def _pgd(steps: int, restarts: int) -> Method:
    foolbox = _imported("foolbox", "pip install foolbox==3.3.4")

    def run(model: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        attacked = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        # 2.5 radii in all, whatever the number of steps: from one side of the ball to the other, as Madry et al.
        method = foolbox.attacks.L2ProjectedGradientDescentAttack(steps=steps, rel_stepsize=2.5 / steps)
        return method.repeat(restarts)(attacked, x, y, epsilons=radius)[1]

    return run


def _adv_lib() -> Any:
    """What the attacks need of adv-lib, whose `attacks` package imports torchvision and visdom for what is not needed: an
    empty package stands in for it while its modules are imported, and is taken away again."""
    command = "pip install --no-deps adv-lib==0.2.8"
    name = "adv_lib.attacks"
    if name in sys.modules:
        return sys.modules[name]
    base = _imported("adv_lib", command)
    stand_in = types.ModuleType(name)
    stand_in.__path__ = [f"{entry}/attacks" for entry in base.__path__]
    sys.modules[name] = stand_in
    try:
        gradient = _imported(f"{name}.auto_pgd", command)
        boundary = _imported(f"{name}.fast_adaptive_boundary", command)
    finally:
        del sys.modules[name]
        vars(base).pop("attacks", None)
    return types.SimpleNamespace(apgd=gradient.apgd, apgd_targeted=gradient.apgd_targeted, fab=boundary.fab)


def _imported(name: str, command: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"{name.partition('.')[0]} is not installed",
            where="cpl.ensemble",
            why=f"{error}",
            next_step=command,
        ) from error
