"""Programs from real archives compute what the model computes, and carry its names."""

from __future__ import annotations

import archives
import pytest
import torch
from torch import nn

from lipverify.errors import ReadError
from lipverify.graph import trace
from lipverify.read import read
from lipverify.read.nodes import OUTSIDE_TRAINING
from lipverify.read.operators import ALLOWED
from lipverify.read.program import aten


@pytest.fixture
def stored(tmp_path):
    def store(data: bytes):
        path = tmp_path / "model.pt2"
        path.write_bytes(data)
        return path

    return store


@pytest.mark.parametrize("core", [True, False])
def test_the_program_computes_what_the_model_computes(stored, core):
    model = archives.network()
    program = read(stored(archives.save(model, archives.EXAMPLE, core=core)))
    x = torch.rand(1, 1, 4, 4)
    assert torch.equal(program(x), model(x))
    torch.testing.assert_close(program(x.double()), model.double()(x.double()))


def test_names_calls_and_extras(stored):
    program = read(stored(archives.vanilla()))
    assert program.inputs == {"x": (1, 1, 4, 4)} and program.dtype == torch.float32
    assert {"", "conv", "norm", "act", "mix", "head"} <= set(program.modules)
    assert {call for op in program.operations for call in op.calls} == {
        "", "conv", "norm", "act", "act@1", "mix", "mix@1", "head"
    }  # fmt: skip
    assert set(program.weight_names.values()) >= {"conv.weight", "kept", "dropped", "norm.running_var"}
    assert program.extra == {"claims.json": b"{}"}
    assert all(op.source for op in program.operations)


def test_a_file_and_its_live_model_give_the_same_program(stored):
    model = archives.network()
    live, read_ = trace(model, archives.EXAMPLE), read(stored(archives.vanilla()))
    assert torch.equal(live(archives.EXAMPLE), read_(archives.EXAMPLE))
    assert list(live.inputs) == list(read_.inputs) and live.modules == read_.modules
    assert {c for op in live.operations for c in op.calls} == {c for op in read_.operations for c in op.calls}
    for name, weight in live.weights.items():
        assert torch.equal(weight, read_.weights[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_real_dtype_is_read_bit_for_bit(stored, dtype):
    model = nn.Linear(5, 3).to(dtype).eval()
    program = read(stored(archives.save(model, torch.zeros(1, 5, dtype=dtype))))
    assert program.dtype == dtype
    by_name = {program.weight_names[name]: w for name, w in program.weights.items()}
    for name, weight in model.state_dict().items():
        assert by_name[name].dtype == dtype and torch.equal(by_name[name], weight)


class Views(nn.Module):
    corner: torch.Tensor
    repeated: torch.Tensor
    mask: torch.Tensor
    index: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        whole = torch.arange(32.0).reshape(4, 8)
        self.transposed = nn.Parameter(whole.t())
        self.register_buffer("corner", whole[1:3, 2:6])
        self.register_buffer("repeated", torch.tensor([3.0]).expand(4))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.register_buffer("index", torch.tensor([3, 2, 1, 0]))
        self.register_buffer("nothing", torch.zeros(0))
        self.tied = self.transposed

    def forward(self, x):
        y = x @ self.transposed + x @ self.tied + self.corner.sum() + self.repeated
        return torch.where(self.mask, y, -y).index_select(1, self.index)


@pytest.mark.filterwarnings("ignore:No complete tensor found")
def test_strides_offsets_ties_masks_and_empty_buffers_are_honoured(stored):
    model = Views().eval()
    program = read(stored(archives.save(model, torch.zeros(2, 8))))
    x = torch.rand(2, 8)
    assert torch.equal(program(x), model(x))
    same = [w for name, w in program.weights.items() if program.weight_names[name] in ("transposed", "tied")]
    assert all(w is same[0] for w in same)


def test_infinite_scalars_and_several_results(stored):
    class Pick(nn.Module):
        def forward(self, x):
            values, _ = torch.max(x.clamp(max=float("inf")), dim=1, keepdim=True)
            return torch.where(x > 0, x, float("-inf")).amax(1) + values

    model = Pick().eval()
    program = read(stored(archives.save(model, torch.ones(1, 4))))
    assert torch.equal(program(torch.ones(1, 4)), model(torch.ones(1, 4)))
    assert any(op.target == "getitem" for op in program.operations)


LAYERS = {
    "circular": lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
    "strided": lambda: nn.Conv2d(1, 2, 3, stride=2, padding="valid"),
    "transposed": lambda: nn.ConvTranspose2d(1, 1, 3, stride=2, output_padding=1),
    "pooled": lambda: nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)),
    "padded": lambda: nn.Sequential(
        nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.ZeroPad2d(1), nn.CircularPad2d(1)
    ),
    "upsampled": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")),
    "activations": lambda: nn.Sequential(nn.PReLU(), nn.GELU(), nn.Mish(), nn.Hardswish(), nn.SELU(), nn.Softplus()),
    "normalised": lambda: nn.Sequential(nn.LayerNorm(8), nn.GroupNorm(1, 1), nn.Softmax(-1)),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
}


@pytest.mark.parametrize("core", [True, False], ids=["core", "raw"])
@pytest.mark.parametrize("name", LAYERS)
def test_common_layers_are_read_from_vanilla_exports(stored, name, core):
    torch.manual_seed(0)
    model, x = LAYERS[name]().eval(), torch.rand(1, 1, 8, 8)
    program = read(stored(archives.save(model, x, core=core)))
    torch.testing.assert_close(program(x), model(x))


def test_the_allowed_operators_are_pure_or_read_outside_of_training_only():
    switches = {"train", "training", "use_input_stats", "dropout_p", "generator"}
    found = set()
    for name in ALLOWED - {"aten._native_batch_norm_legit.no_stats"}:  # has no statistics to write
        operator = aten(name)
        assert not operator._schema.is_mutable, name  # type: ignore[attr-defined]
        tags = operator.tags  # type: ignore[attr-defined]
        if torch.Tag.nondeterministic_seeded in tags or switches & {a.name for a in operator._schema.arguments}:  # type: ignore[attr-defined]
            found.add(name)
    assert found == set(OUTSIDE_TRAINING)


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("variance", torch.ones(4))

    def forward(self, x):
        return self.function(x, self.mean, self.variance)


TRAINING = {
    "dropout": lambda x, m, v, on: nn.functional.dropout(x, 0.5, on),
    "feature dropout": lambda x, m, v, on: torch.feature_dropout(x, 0.5, on),
    "alpha dropout": lambda x, m, v, on: torch.alpha_dropout(x, 0.5, on),
    "feature alpha dropout": lambda x, m, v, on: torch.feature_alpha_dropout(x, 0.5, on),
    "rrelu": lambda x, m, v, on: torch.rrelu(x, training=on),
    "attention": lambda x, m, v, on: nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5 * on),
    "batch norm": lambda x, m, v, on: torch.batch_norm(x, None, None, m, v, on, 0.1, 1e-5, False),
    "instance norm": lambda x, m, v, on: torch.instance_norm(x, None, None, m, v, on, 0.1, 1e-5, False),
}


@pytest.mark.parametrize("on", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", TRAINING)
def test_what_draws_or_writes_in_training_is_read_in_evaluation_only(stored, name, on):
    model, x = Called(lambda *given: TRAINING[name](*given, on)).eval(), torch.rand(2, 4, 5)
    path = stored(archives.save(model, x, core=False))
    if on:
        with pytest.raises(ReadError, match="train"):
            read(path)
    else:
        torch.testing.assert_close(read(path)(x), model(x))


@pytest.mark.parametrize("name", ["batch norm", "instance norm"])
def test_normalisation_without_stored_statistics_writes_nothing(stored, name):
    model = Called(lambda x, m, v: TRAINING[name](x, None, None, True)).eval()
    x = torch.rand(2, 4, 5)
    torch.testing.assert_close(read(stored(archives.save(model, x, core=False)))(x), model(x))


def test_the_original_archive_root_name_does_not_matter(tmp_path):
    path = archives.pack(tmp_path / "m.pt2", archives.entries(archives.tiny()), root="some name")
    assert read(path)(torch.ones(1, 3)).shape == (1, 2)
