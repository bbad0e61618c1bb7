"""What a training step does to the weights: when they move, by which gradients, and how those are clipped."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqmem.config import TrainConfig
from seqmem.data.documents import Documents, Laid
from seqmem.data.stream import TokenStream
from seqmem.models import build_model, compressive
from seqmem.ops import bind
from seqmem.train.optim import build_optimizer, learning_rate
from seqmem.train.session import Session

SIZES = dict(vocab_size=30, num_layers=2, d_model=8, num_heads=2, head_dim=4, d_inner=12)
LENGTHS = dict(segment_len=4, mem_len=6, cmem_len=4, compression_rate=2)
CONFIG = TrainConfig(steps=20, batch_size=2, lr=1e-2, warmup_steps=5, weight_decay=0.1)


def stream() -> TokenStream:
    tokens = np.random.default_rng(1).integers(0, 30, 500)
    return TokenStream(Laid(Documents.one(tokens)), CONFIG.batch_size, LENGTHS["segment_len"])


def start(**train_values) -> Session:
    """A Compressive Transformer without dropout in float64, always the same one."""
    torch.manual_seed(0)
    model = build_model("compressive/tiny", bind("pytorch"), **SIZES, **LENGTHS).double()
    return Session(model, stream(), CONFIG.model_copy(update=train_values))


def weights(session: Session) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in session.model.named_parameters()}


def is_auxiliary(name: str) -> bool:
    return name.startswith("compressions.")


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("every", "after", "updates"),
    [(1, 0, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (3, 2, [1, 2, 5, 8]), (4, 0, [4, 8]), (2, 7, [1, 2, 3, 4, 5, 6, 7, 9])],
)
def test_weights_move_at_every_step_and_later_at_every_kth(every, after, updates):
    session = start(update_every=every, update_every_after=after)
    seen = []
    for step in range(1, 10):
        before = weights(session)
        session.step()
        changed = moved(before, weights(session))
        assert not changed or changed >= {name for name in before if not is_auxiliary(name)}
        if changed:
            seen.append(step)
    assert seen == updates


def clipped(gradients: dict[str, Tensor], limit: float) -> dict[str, Tensor]:
    """All of them shortened alike, so that together they are no longer than ``limit``."""
    norm = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
    return {name: gradient * (limit / (norm + 1e-6)).clamp(max=1) for name, gradient in gradients.items()}


@pytest.mark.parametrize("clip", [0.25, 1e6])
def test_an_update_is_by_the_mean_gradient_of_its_steps(clip):
    session = start(update_every=3, update_every_after=2, grad_clip=clip)
    twin, segments = start().model, stream()
    optimizer = build_optimizer(twin, CONFIG)
    memory, step = twin.init_state(CONFIG.batch_size), 0
    named = dict(twin.named_parameters())
    for num_steps in (1, 1, 3, 3):
        gradients = []
        for _ in range(num_steps):
            session.step()
            step += 1
            inputs, targets, _, _ = segments.next()
            out = twin(inputs, memory)
            memory = out.state.detach()
            likelihood = twin.head.nll(out.hidden, targets).mean()
            assert session.counters.recent_losses["loss"][-1] == pytest.approx(likelihood.item())
            loss = likelihood + sum(out.losses.values())
            gradients.append(torch.autograd.grad(loss, [*named.values()]))
        mean = {name: sum(each) / num_steps for name, each in zip(named, zip(*gradients, strict=True), strict=True)}
        for auxiliary in (False, True):
            group = {name: gradient for name, gradient in mean.items() if is_auxiliary(name) == auxiliary}
            for name, gradient in clipped(group, clip).items():
                named[name].grad = gradient.contiguous()  # fused AdamW does not look at its strides
        for parameters in optimizer.param_groups:
            parameters["lr"] = learning_rate(step, CONFIG)
        optimizer.step()
        for name, value in weights(session).items():
            torch.testing.assert_close(value, named[name].detach(), rtol=1e-8, atol=1e-11)


def auxiliary_loss_a_million_times(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    loss = compressive.attention_reconstruction_loss
    monkeypatch.setattr(compressive, "attention_reconstruction_loss", lambda *given: 1e6 * loss(*given))


def likelihood_a_million_times(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    nll = session.model.head.nll
    monkeypatch.setattr(session.model.head, "nll", lambda *given: 1e6 * nll(*given))


@pytest.mark.parametrize(
    ("scale", "scaled", "same"),
    [
        (auxiliary_loss_a_million_times, "auxiliary_grad_norm", "grad_norm"),
        (likelihood_a_million_times, "grad_norm", "auxiliary_grad_norm"),
    ],
)
def test_one_loss_does_not_change_what_the_other_trains(monkeypatch, scale, scaled, same):
    plain, other = start(), start()
    for session in (plain, other):
        for _ in range(5):
            session.step()
    expected = plain.step()
    scale(monkeypatch, other)
    norms = other.step()
    assert norms[scaled] == pytest.approx(1e6 * expected[scaled])
    assert norms[scaled] > CONFIG.grad_clip
    assert norms[same] == expected[same] > 0
    assert {is_auxiliary(name) for name in moved(weights(plain), weights(other))} == {"auxiliary" in scaled}


@pytest.mark.parametrize("clip", [1e-3, 1e6])
def test_each_gradient_is_clipped_by_its_own_norm(monkeypatch, clip):
    session = start(grad_clip=clip)
    auxiliary_loss_a_million_times(monkeypatch, session)
    for _ in range(5):
        session.step()
    given: dict[str, Tensor | None] = {}

    def note(*args) -> None:
        given.update({name: parameter.grad for name, parameter in session.model.named_parameters()})

    session.optimizer.register_step_pre_hook(note)
    norms = session.step()
    for name, auxiliary in (("grad_norm", False), ("auxiliary_grad_norm", True)):
        gradients = [
            gradient for key, gradient in given.items() if gradient is not None and is_auxiliary(key) == auxiliary
        ]
        assert nn.utils.get_total_norm(gradients).item() == pytest.approx(min(clip, norms[name]), rel=1e-2)


def test_an_auxiliary_loss_that_is_not_finite_stops_before_the_update(monkeypatch):
    session = start()
    session.step()
    before = weights(session)
    monkeypatch.setattr(compressive, "attention_reconstruction_loss", lambda *given: torch.tensor(torch.nan))
    with pytest.raises(FloatingPointError, match="step 2"):
        session.step()
    assert not moved(before, weights(session))
