"""Token loops of every model: what was drawn, how likely it was, and the state after."""

import pytest
import torch
from torch import Tensor

from seqmem.errors import SeqmemError
from seqmem.generate.sampling import Sampler
from seqmem.models import MODELS, build_model, model_config
from seqmem.models.base import CausalModel
from seqmem.ops import bind


def make(name: str, **overrides) -> CausalModel:
    torch.manual_seed(0)
    model = build_model(f"{name}/tiny", bind("pytorch"), **overrides).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    return model


def seeded(**options) -> Sampler:
    return Sampler(generator=torch.Generator().manual_seed(3), **options)


def whole(model: CausalModel, token: Tensor, tokens: Tensor):
    """The forward pass over all that a loop read."""
    return model(torch.cat([token[:, None], tokens[:, :-1]], 1))


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_log_probabilities_and_state_are_the_forward_pass(name):
    model = make(name)
    token = torch.tensor([5, 200])
    loop = model.token_loop(model.init_state(2), seeded(temperature=0.7, top_p=0.9))
    first, first_log_probs = loop(token, 15)
    second, second_log_probs = loop(first[:, -1], 20)
    tokens, log_probs = torch.cat([first, second], 1), torch.cat([first_log_probs, second_log_probs], 1)
    out = whole(model, token, tokens)
    torch.testing.assert_close(log_probs, -model.head.nll(out.hidden, tokens))
    assert tokens.unique().numel() > 10

    forced, same = model.token_loop(model.init_state(2), seeded())(token, 35, forced=tokens)
    assert torch.equal(forced, tokens)
    torch.testing.assert_close(same, log_probs)
    following = torch.randint(0, 256, (2, 9))
    expected = model(following, out.state).hidden
    torch.testing.assert_close(model(following, loop.state).hidden, expected)


@pytest.mark.parametrize("name", ["transformer-xl", "wavenet"])
@torch.no_grad()
def test_phases_alternate_and_share_no_probability(name):
    """After any token of a phase comes one of the next; each phase's probabilities sum to 1."""
    model = make(name, vocab_size=6, num_phases=3)
    read = model(torch.tensor([[0, 2]])).state
    token = torch.tensor([4])
    tokens, log_probs = model.token_loop(read, seeded(temperature=2.0))(token, 90)
    assert (tokens[0] // 2).tolist() == [0, 1, 2] * 30
    assert len(tokens.unique()) == 6
    other = tokens + 1 - 2 * (tokens % 2)
    pieces = [model.token_loop(read, seeded())(token, 1, forced=ids[:, :1])[1] for ids in (tokens, other)]
    torch.testing.assert_close(sum(piece.exp() for piece in pieces), torch.ones(1, 1, dtype=torch.float64))
    hidden = model(torch.cat([token[:, None], tokens[:, :-1]], 1), read).hidden
    logits = model.head.logits(hidden)[0].unflatten(-1, (3, 2))
    expected = logits[torch.arange(90), tokens[0] // 2].log_softmax(-1).gather(1, tokens.T % 2)[:, 0]
    torch.testing.assert_close(log_probs[0], expected)
    assert (model.head.nll(hidden, tokens) > -log_probs).all()


def test_phases_that_do_not_share_the_ids_evenly_are_refused():
    with pytest.raises(SeqmemError, match="vocab_size = 256 is not a multiple of num_phases = 3"):
        model_config("wavenet/tiny", num_phases=3)


@pytest.mark.parametrize("name", ["lstm", "wavenet"])
@torch.no_grad()
def test_temperature_zero_takes_the_likeliest(name):
    model = make(name)
    token = torch.tensor([9])
    tokens, _ = model.token_loop(model.init_state(1), Sampler(temperature=0))(token, 12)
    assert torch.equal(model.head.logits(whole(model, token, tokens).hidden).argmax(-1), tokens)
