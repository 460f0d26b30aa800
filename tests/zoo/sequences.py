"""Networks on signals and tokens."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.zoo.network import Network, Residual


class Transposed(nn.Sequential):
    """The modules on the last two axes exchanged."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def mixer(norm: bool = True) -> nn.Module:
    """MLP-Mixer: patches, then dense layers along the tokens and along the channels in turn."""

    def mlp(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, 6), nn.GELU(), nn.Linear(6, width))

    patches = nn.Conv2d(2, 5, 4, 4), nn.Flatten(2)
    tokens = Residual(Transposed(*([nn.LayerNorm(5)] if norm else [])), mlp(4))
    channels = Transposed(Residual(*([nn.LayerNorm(5)] if norm else []), mlp(5)))
    return nn.Sequential(*patches, tokens, channels, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 3))


class Attention(nn.Module):
    """Self-attention, written out: its three linear maps are modules of their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        return F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))


def transformer(attention: nn.Module) -> nn.Module:
    mlp = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)
    return nn.Sequential(nn.Linear(3, 4), Residual(nn.LayerNorm(4), attention), Residual(nn.LayerNorm(4), *mlp))


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True)


def signal() -> nn.Module:
    first = nn.Conv1d(2, 3, 5, 2, 2), nn.BatchNorm1d(3), nn.ReLU(), nn.MaxPool1d(2)
    second = nn.Conv1d(3, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.AvgPool1d(2)
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(8, 3))


class Causal(nn.Conv1d):
    """Padded on the left only: no output sees the future."""

    def forward(self, x):
        return super().forward(F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class Gate(nn.Module):
    """WaveNet: tanh of one convolution times the sigmoid of another."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.filter, self.gate = (Causal(2, 2, 2, dilation=dilation) for _ in range(2))
        self.out = nn.Conv1d(2, 2, 1)

    def forward(self, x):
        return x + self.out(torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x)))


class Cell(nn.Module):
    """One step of a recurrent cell from a zero state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x):
        state = self.cell(x)
        return state[0] if isinstance(state, tuple) else state


class Unrolled(nn.Module):
    """Elman's network, its one cell called for every step, the outputs stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.step = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):
        states = [torch.tanh(self.read(x[:, 0]))]
        for t in range(1, x.shape[1]):
            states.append(torch.tanh(self.read(x[:, t]) + self.step(states[-1])))
        return torch.stack(states, 1)


NETWORKS = {
    "mlp-mixer": Network(mixer, (1, 2, 8, 8)),
    "mlp-mixer without norms": Network(lambda: mixer(False), (1, 2, 8, 8)),
    "transformer": Network(lambda: transformer(Attention(4)), (1, 3, 3), "attention"),
    "torch's transformer encoder": Network(encoder, (1, 3, 4), "aten."),
    "convolution of signals": Network(signal, (1, 2, 16)),
    "causal residual": Network(
        lambda: nn.Sequential(*(Residual(Causal(2, 2, 3, dilation=d), nn.ReLU()) for d in (1, 2, 4))), (1, 2, 9)
    ),
    "wavenet gates": Network(lambda: nn.Sequential(Gate(1), Gate(2)), (1, 2, 8), "aten.mul.Tensor"),
    "lstm cell": Network(
        lambda: nn.Sequential(nn.Linear(3, 4), Cell(nn.LSTMCell(4, 4))), (1, 3), "aten.", "aten.lstm_cell"
    ),
    "gru cell": Network(lambda: Cell(nn.GRUCell(3, 4)), (1, 3), "aten.", "aten.gru_cell"),
    "elman cell": Network(lambda: Cell(nn.RNNCell(3, 4)), (1, 3), unread="aten.rnn_tanh_cell"),
    "elman unrolled": Network(Unrolled, (1, 4, 3)),
    "transposed convolution of signals": Network(
        lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 4, 2, 1), nn.SiLU(), nn.Conv1d(3, 1, 3, padding="same")),
        (1, 2, 6),
    ),
}
