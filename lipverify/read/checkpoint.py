"""A ``.pt`` or ``.pth`` file of torch.save -> the tensors of its state dict, without ``torch.load``.

``torch.save`` writes a zip archive: ``data.pkl``, a pickle of names and layouts, and the raw bytes of every storage. The
pickle is read as inert data (:mod:`lipverify.read.pickled`); only the calls by which torch writes plain tensors are
understood, and no call is made. What is stored then lies in the archive as numbers do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lipverify.errors import ReadError, quoted
from lipverify.read.archive import Archive
from lipverify.read.pickled import Call, Name, NotInert, Persistent, inert
from lipverify.read.state import State
from lipverify.read.views import Views

RESAVE = "Save its state dict with this torch: torch.save(model.state_dict(), 'model.pt')."
MAX_PICKLE = 1 << 26
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
"""Where training scripts put the state dict beside the state of the optimizer and the like."""
ORDERED = Name("collections", "OrderedDict")
STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_IGNORED = ("data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", ".data/", "data/")
_KEY = re.compile(r"\d{1,9}", re.ASCII)


def read_checkpoint(path: Path) -> State:
    """The state dict in a file of ``torch.save``.

    Raises:
        ReadError: where the file holds anything that is not understood as plain tensors, by name.
    """
    with Archive(path, RESAVE) as archive:
        _check_entries(archive)
        try:
            top = inert(archive.read("data.pkl", MAX_PICKLE))
        except NotInert as error:
            why = f"{error}; nothing of it was run"
            raise archive.refuse("its pickle is not one of plain tensors", why=why, step=RESAVE) from None
        chosen, notes = _unwrapped(archive, top)
        views, dtypes = Views(archive, "data"), dict[str, torch.dtype]()
        tensors = {name: _tensor(archive, name, value, views, dtypes) for name, value in chosen.items()}
        return State(tensors, notes)


def _check_entries(archive: Archive) -> None:
    for name in archive:
        if name.startswith(("code/", "constants")):
            why = "its program is code of its own, which is not read"
            step = "Export the model with torch.export, or save its state dict: torch.save(m.state_dict(), 'model.pt')."
            raise archive.refuse("it is a TorchScript archive", why=why, step=step)
        if not name.startswith(_IGNORED):
            raise archive.refuse(f"it has the unknown entry {quoted(name)}", step=RESAVE)
    if "byteorder" in archive and archive.read("byteorder", 16) != b"little":
        raise archive.refuse("its tensors are not little-endian", step="Save it on a little-endian machine.")


def _unwrapped(archive: Archive, top: Any) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The mapping from names to what stands for tensors, out of its wrapper."""
    entries = _mapping(top)
    if entries is None:
        raise _whole(archive, top)
    if any(_is_tensor(value) for value in entries.values()):
        return entries, ()
    found = {key: inner for key in WRAPPERS if (inner := _mapping(entries.get(key))) and _is_state(inner)}
    if len(found) != 1:
        wrapped = next((v for k in WRAPPERS if isinstance(v := entries.get(k), Call) and _mapping(v) is None), None)
        if wrapped is not None:
            raise _whole(archive, wrapped)
        why = f"its keys are {', '.join(quoted(k, 40) for k in list(entries)[:8]) or 'none'}"
        what = "it holds several state dicts" if found else "it holds no state dict"
        raise archive.refuse(what, why=why, step=RESAVE)
    ((key, state),) = found.items()
    others = [quoted(k, 40) for k in entries if k != key]
    note = f"the state dict was taken from {quoted(key)} of the checkpoint"
    return state, (note + (f"; not read: {', '.join(others[:8])}" if others else ""),)


def _whole(archive: Archive, top: Any) -> ReadError:
    what = f"a call of {quoted(top.function)}" if isinstance(top, Call) else f"a {type(top).__name__}"
    return archive.refuse(
        f"it holds {what} where a state dict is read",
        why="a pickled module or object runs code when it is loaded; nothing of it was run",
        step=f"{RESAVE} A whole pickled module is read with --unsafe-load alone, which runs code of the file.",
    )


def _mapping(value: Any) -> dict[str, Any] | None:
    """The items of a dict or OrderedDict whose keys are text."""
    if isinstance(value, Call):
        if value.function != ORDERED or value.arguments != () or not _only_metadata(value.state):
            return None
        value = value.items
    return value if type(value) is dict and all(isinstance(key, str) for key in value) else None


def _only_metadata(state: Any) -> bool:
    """Whether it is what ``nn.Module.state_dict`` adds to the mapping that it returns: versions of modules."""
    return state is None or (type(state) is dict and set(state) <= {"_metadata"})


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Call) and isinstance(value.function, Name) and value.function.module == "torch._utils"


def _is_state(entries: Mapping[str, Any]) -> bool:
    return any(_is_tensor(value) for value in entries.values())


def _tensor(archive: Archive, name: str, value: Any, views: Views, dtypes: dict[str, torch.dtype]) -> torch.Tensor:
    match value:
        case Call(
            Name("torch._utils", "_rebuild_parameter"),
            (Call(Name("torch._utils", "_rebuild_tensor_v2")) as inner, bool(), hooks),
            items,
            None,
        ) if not items and _no_hooks(hooks):
            return _tensor(archive, name, inner, views, dtypes)
        case Call(
            Name("torch._utils", "_rebuild_tensor_v2"),
            (
                Persistent(("storage", Name("torch", storage), str(key), str(), int(count))),
                int(offset),
                sizes,
                strides,
                bool(),
                hooks,
                *metadata,
            ),
            items,
            None,
        ) if (
            not items
            and _no_hooks(hooks)
            and metadata in ([], [None], [{}])
            and storage in STORAGES
            and _KEY.fullmatch(key)
            and _naturals(offset, count, sizes, strides)
        ):
            dtype = STORAGES[storage]
        case _:
            what = value.function if isinstance(value, Call) else type(value).__name__
            raise archive.refuse(
                f"the entry {quoted(name)} is no plain tensor: {quoted(what)}",
                why="dense tensors of real numbers, integers and masks are read; nothing else is, and nothing was run",
                step=RESAVE,
            )
    entry = f"data/{key}"
    stored = archive.size(entry) if entry in archive else -1
    if stored != count * dtype.itemsize or dtypes.setdefault(key, dtype) is not dtype:
        why = f"{count} entries of {dtype} are {count * dtype.itemsize} bytes; {quoted(entry)} has {stored}"
        raise archive.refuse(f"the storage of {quoted(name)} is not what it says", why=why, step=RESAVE)
    return views.tensor(name, key, dtype, tuple(sizes), tuple(strides), offset)


def _no_hooks(hooks: Any) -> bool:
    return isinstance(hooks, Call) and _mapping(hooks) == {} and hooks.state is None


def _naturals(offset: Any, count: Any, sizes: Any, strides: Any) -> bool:
    """Whether all of them are natural numbers, and the tuples no longer than shapes are."""
    if not (isinstance(sizes, tuple) and isinstance(strides, tuple)) or max(len(sizes), len(strides)) > 32:
        return False
    return all(type(n) is int and 0 <= n < 1 << 48 for n in (offset, count, *sizes, *strides))
