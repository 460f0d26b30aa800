"""Options that several commands take: how a model is handed over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path,
    typer.Argument(
        help="A .pt2 of torch.export.save, an .onnx, or (with --factory) a state dict: .pt, .pth, .safetensors.",
        metavar="MODEL",
        show_default=False,
    ),
]
At = Annotated[
    Path | None,
    typer.Option(
        help="Inputs (.npz or .npy, shape (k, *sample)) for local bounds and certified classes.", metavar="DATA"
    ),
]
Factory = Annotated[
    str | None,
    typer.Option(
        help="Code that builds the network of a state dict. NAMING IT RUNS IT.", metavar="PACKAGE.MODULE:FUNCTION"
    ),
]
Shape = Annotated[
    list[str] | None,
    typer.Option(help="With --factory: the input's shape, as 1,3,32,32; once for every input.", metavar="N,C,H,W"),
]
UnsafeLoad = Annotated[bool, typer.Option("--unsafe-load", help="Unpickle a whole module. THIS RUNS CODE OF THE FILE.")]
Input = Annotated[str | None, typer.Option(help="Of several inputs, the one that is varied.", metavar="NAME")]
Of = Annotated[str | None, typer.Option(help="Of several outputs, the one that is judged.", metavar="OUTPUT")]
Hold = Annotated[
    list[str] | None,
    typer.Option(help="Hold another input: NAME=0.5 or NAME=values.npy; may be repeated.", metavar="NAME=VALUE"),
]
