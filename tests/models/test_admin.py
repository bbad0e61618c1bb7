"""Admin: shares of branches in a deep post-LN model, omega 1 as the plain model, and omega folded away."""

import pytest
import torch
from torch import Tensor, nn

from seqmem.errors import SeqmemError
from seqmem.layers.admin import profile
from seqmem.layers.shortcut import Shortcut
from seqmem.models import build_encoder, build_model, model_config
from seqmem.models.fold import fold_admin
from seqmem.models.model import Model
from seqmem.ops import bind

CAUSAL = ["transformer-xl", "transformer"]
ENCODERS = ["longformer", "bigbird", "linformer"]
WINDOWS = {"longformer": {"window": 4}}


def make(name: str, **overrides) -> Model:
    torch.manual_seed(0)
    build = build_encoder if name in ENCODERS else build_model
    model = build(
        f"{name}/tiny",
        bind("pytorch"),
        **{"num_layers": 3, "admin": True, "dropout": 0.0} | WINDOWS.get(name, {}) | overrides,
    )
    return model.double().eval()


def randomised(model: Model) -> Model:
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    return model


def tokens(length: int = 30, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, length), generator=torch.Generator().manual_seed(1))


def hidden(model: Model, ids: Tensor) -> Tensor:
    out = model(ids)
    return out if isinstance(out, Tensor) else out.hidden


@pytest.mark.parametrize("name", ["transformer", "longformer"])
def test_branches_have_equal_shares_of_all_so_far(name):
    """The i-th branch is Var f_i / (Var f_1 + ... + Var f_i) of what its layer gives, from the second on."""
    model, ids = make(name, num_layers=9, init_std=0.15, attention_dropout=0.0), tokens(32, 8)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
    profile(model, lambda: model(ids))
    met: list[tuple[float, float, float]] = []

    def meet(shortcut, inputs, output):
        met.append(tuple(x.var(correction=0).item() for x in (*inputs, output)))

    for module in model.modules():
        if isinstance(module, Shortcut):
            module.register_forward_hook(meet)
    model(ids)
    total = met[0][1]
    for kept, branch, together in met[1:]:
        total += branch
        assert kept == pytest.approx(1, rel=0.05)
        assert branch / together == pytest.approx(branch / total, rel=0.25)
    weights = [
        module.weight for module in model.modules() if isinstance(module, Shortcut) and module.weight is not None
    ]
    assert torch.stack([weight[0] for weight in weights])[-1].item() ** 2 == pytest.approx(total - met[-1][1], rel=1e-6)
    assert all((weight == weight[0]).all() for weight in weights)


@pytest.mark.parametrize("name", [*CAUSAL, "compressive", *ENCODERS])
def test_omega_one_is_the_plain_model(name):
    model, plain = make(name), make(name, admin=False)
    missing = plain.load_state_dict(model.state_dict(), strict=False)
    assert not missing.missing_keys
    assert all("_shortcut." in key for key in missing.unexpected_keys)
    ids = tokens()
    torch.testing.assert_close(hidden(model, ids), hidden(plain, ids), rtol=0, atol=0)


@pytest.mark.parametrize("name", [*CAUSAL, *ENCODERS])
def test_folded_models_compute_the_same(name):
    model = randomised(make(name))
    plain, ids = fold_admin(model), tokens(40)
    assert not plain.config.admin
    assert not any("_shortcut" in key for key in plain.state_dict())
    torch.testing.assert_close(hidden(plain, ids), hidden(model, ids))
    assert fold_admin(plain) is plain
    assert model.config.admin


def test_what_cannot_be_folded():
    with pytest.raises(SeqmemError, match="compressed memory"):
        fold_admin(make("compressive"))
    model = make("transformer")
    model.blocks[1].attention_shortcut.weight.data[3] = 0
    with pytest.raises(SeqmemError, match="omega is 0"):
        fold_admin(model)


def test_pre_norm_is_refused():
    with pytest.raises(SeqmemError, match="set pre_norm = false"):
        model_config("transformer-xl/tiny", admin=True, pre_norm=True)


def test_a_model_without_omega_reads_nothing():
    profile(make("transformer", admin=False), lambda: pytest.fail("read"))
