"""cpl: training of convex potential networks, which are 1-Lipschitz by construction, and export of what they claim.

>>> import torch, cpl
>>> model = cpl.CPLNet(cpl.CPLNetConfig(conv_blocks=1, dense_blocks=1), generator=torch.Generator().manual_seed(0))
>>> sealed = cpl.seal(model, (1, 8, 8))
>>> [layer.path for layer in cpl.seal_of(sealed).layers]
['trunk.conv1', 'trunk.dense1', 'head']
"""

from cpl.activations import ACTIVATIONS, Activation, MaxMin
from cpl.attacks import Attack
from cpl.certify import RADII, Accuracy, Empirical, Violation, certified, evaluate
from cpl.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cpl.comparison import AOLConv2d, AOLLinear, SLLConv2d, SLLLinear
from cpl.config import CPLNetConfig
from cpl.data import DATASETS, Split, load_data
from cpl.errors import ArgumentError, CheckpointError, CplError, DataError, SealError, TrainingError
from cpl.export import Provenance, claims_of, export_model, load_sealed, program_bytes, program_of, read_facts
from cpl.fixed import Standardize, UnitNormAvgPool2d, ZeroChannelPad
from cpl.flow import Potential, Skew, exact_flow, explicit_euler, implicit_euler, midpoint, series_bound
from cpl.layers import ConvexPotentialConv2d, ConvexPotentialLinear
from cpl.losses import margin_cross_entropy, margin_hinge
from cpl.models import CPLNet
from cpl.normalized import NormalizedLinear, SpectralConv2d, SpectralLinear
from cpl.norms import gram_upper_conv, gram_upper_dense
from cpl.operators import Convolution, Dense, Operator, power_lower
from cpl.orthogonal import CayleyConv2d, CayleyLinear, ExponentialConv2d, ExponentialLinear
from cpl.presets import PRESETS, preset
from cpl.sealed import LayerSeal, SealedConv2d, SealedLinear, SealedMap, SealedMapConv2d
from cpl.sealing import Seal, seal, seal_of, trunk_constant
from cpl.settings import TrainSettings
from cpl.swap import swap
from cpl.timedependent import ConvexPotentialFlow
from cpl.train import Progress, Run

__all__ = [
    "ACTIVATIONS",
    "DATASETS",
    "PRESETS",
    "RADII",
    "AOLConv2d",
    "AOLLinear",
    "Accuracy",
    "Activation",
    "ArgumentError",
    "Attack",
    "CPLNet",
    "CPLNetConfig",
    "CayleyConv2d",
    "CayleyLinear",
    "Checkpoint",
    "CheckpointError",
    "ConvexPotentialConv2d",
    "ConvexPotentialFlow",
    "ConvexPotentialLinear",
    "Convolution",
    "CplError",
    "DataError",
    "Dense",
    "Empirical",
    "ExponentialConv2d",
    "ExponentialLinear",
    "LayerSeal",
    "MaxMin",
    "NormalizedLinear",
    "Operator",
    "Potential",
    "Progress",
    "Provenance",
    "Run",
    "SLLConv2d",
    "SLLLinear",
    "Seal",
    "SealError",
    "SealedConv2d",
    "SealedLinear",
    "SealedMap",
    "SealedMapConv2d",
    "Skew",
    "SpectralConv2d",
    "SpectralLinear",
    "Split",
    "Standardize",
    "TrainSettings",
    "TrainingError",
    "UnitNormAvgPool2d",
    "Violation",
    "ZeroChannelPad",
    "certified",
    "claims_of",
    "evaluate",
    "exact_flow",
    "explicit_euler",
    "export_model",
    "gram_upper_conv",
    "gram_upper_dense",
    "implicit_euler",
    "load_checkpoint",
    "load_data",
    "load_sealed",
    "margin_cross_entropy",
    "margin_hinge",
    "midpoint",
    "power_lower",
    "preset",
    "program_bytes",
    "program_of",
    "read_facts",
    "save_checkpoint",
    "seal",
    "seal_of",
    "series_bound",
    "swap",
    "trunk_constant",
]
