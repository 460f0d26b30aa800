"""cpl: training of convex potential networks, which are 1-Lipschitz by construction, and export of what they claim.

>>> import torch, cpl
>>> model = cpl.CPLNet(cpl.CPLNetConfig(conv_blocks=1, dense_blocks=1), generator=torch.Generator().manual_seed(0))
>>> sealed = cpl.seal(model, (1, 8, 8))
>>> [layer.path for layer in cpl.seal_of(sealed).layers]
['trunk.conv1', 'trunk.dense1', 'head']
"""

from cpl.certify import RADII, Accuracy, certified, evaluate
from cpl.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cpl.data import DATASETS, Split, load_data
from cpl.errors import ArgumentError, CheckpointError, CplError, DataError, SealError, TrainingError
from cpl.export import Provenance, claims_of, export_model, load_sealed, program_bytes, program_of, read_facts
from cpl.layers import (
    ConvexPotentialConv2d,
    ConvexPotentialLinear,
    NormalizedLinear,
    UnitNormAvgPool2d,
    ZeroChannelPad,
)
from cpl.losses import margin_cross_entropy
from cpl.models import CPLNet, CPLNetConfig
from cpl.norms import gram_upper_conv, gram_upper_dense, power_lower_conv, power_lower_dense
from cpl.sealed import LayerSeal, SealedConv2d, SealedLinear, SealedNormalizedLinear
from cpl.sealing import Seal, seal, seal_of
from cpl.train import Progress, Run, TrainSettings

__all__ = [
    "DATASETS",
    "RADII",
    "Accuracy",
    "ArgumentError",
    "CPLNet",
    "CPLNetConfig",
    "Checkpoint",
    "CheckpointError",
    "ConvexPotentialConv2d",
    "ConvexPotentialLinear",
    "CplError",
    "DataError",
    "LayerSeal",
    "NormalizedLinear",
    "Progress",
    "Provenance",
    "Run",
    "Seal",
    "SealError",
    "SealedConv2d",
    "SealedLinear",
    "SealedNormalizedLinear",
    "Split",
    "TrainSettings",
    "TrainingError",
    "UnitNormAvgPool2d",
    "ZeroChannelPad",
    "certified",
    "claims_of",
    "evaluate",
    "export_model",
    "gram_upper_conv",
    "gram_upper_dense",
    "load_checkpoint",
    "load_data",
    "load_sealed",
    "margin_cross_entropy",
    "power_lower_conv",
    "power_lower_dense",
    "program_bytes",
    "program_of",
    "read_facts",
    "save_checkpoint",
    "seal",
    "seal_of",
]
