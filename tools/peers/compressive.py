"""Two public Compressive Transformers with copied weights: what they read, keep and learn, over nine segments.

Every layer is given the inputs that it has in our model. labml_nn's, which is pre-LN, compares whole: its tables of
learned positions can hold ours. Of compressive_transformer_pytorch the attention and its memories compare, within our
post-LN blocks and without positions. Weights have std 0.2, biases are non-zero, all is in float64.

What does not compare: compressive_transformer_pytorch's positions, whose tables slide while memory fills and which have
no u and v, its blocks with their GRU gates, and its loss where memory is longer than a segment, as it reads all of
memory instead of what leaves it. Nor the bookkeeping of segments that the rate does not divide, for which it pads what
it compresses and labml_nn compresses more than a segment, so labml_nn is given our memories.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from compressive_transformer_pytorch.compressive_transformer_pytorch import SelfAttention
from labml import tracker
from labml_nn.transformers.compressive import (
    AttentionReconstructionLoss,
    CompressiveTransformerLayer,
    Conv1dCompression,
)
from labml_nn.transformers.feed_forward import FeedForward
from labml_nn.transformers.xl.relative_mha import RelativeMultiHeadAttention
from torch import Tensor, nn

from seqmem.models import build_model
from seqmem.ops import bind

TOLERANCE = 1e-12
NUM_SEGMENTS = 9
SHAPES = dict(vocab_size=60, num_layers=2, d_model=24, num_heads=3, head_dim=8, d_inner=40)
LABML_SETTINGS = [
    dict(segment_len=8, mem_len=8, cmem_len=4, compression_rate=2),
    dict(segment_len=7, mem_len=9, cmem_len=5, compression_rate=3),
    dict(segment_len=11, mem_len=11, cmem_len=7, compression_rate=4, num_heads=2, head_dim=12),
    dict(segment_len=5, mem_len=13, cmem_len=6, compression_rate=2, d_model=10, num_heads=1, head_dim=10),
]
LUCIDRAINS_SETTINGS = [
    dict(segment_len=8, mem_len=8, cmem_len=8, compression_rate=2),
    dict(segment_len=6, mem_len=6, cmem_len=5, compression_rate=3, num_heads=2, head_dim=12),
    dict(segment_len=12, mem_len=12, cmem_len=2, compression_rate=4),
    dict(segment_len=6, mem_len=18, cmem_len=7, compression_rate=2),
]

# labml_nn logs its attention by a function that labml no longer has.
tracker.debug = lambda *_: None


def build(settings: dict, **options: Any) -> Any:
    torch.manual_seed(0)
    model = build_model("compressive/tiny", bind("pytorch"), **(SHAPES | settings), **options).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.2)
    return model


def through(model: Any) -> Iterator[tuple[Any, list[tuple[Tensor, Tensor]], Any]]:
    """For every segment: the state before it, each block's input and output, and the model's output.

    The gradients of the reconstruction losses add up in the model.
    """
    calls: list[tuple[Tensor, Tensor]] = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, inputs, outputs: calls.append((inputs[0].detach(), outputs[0])))
    length = model.config.segment_len
    ids = torch.randint(0, model.config.vocab_size, (2, NUM_SEGMENTS * length))
    state = model.init_state(2)
    for segment in ids.split(length, 1):
        calls.clear()
        out = model(segment, state)
        sum(out.losses.values()).backward()
        yield state, calls, out
        state = out.state


def difference(ours: Tensor, theirs: Tensor) -> float:
    return (ours - theirs).abs().max().item() if ours.shape == theirs.shape else float("inf")


def gradient_differences(compression: Any, peer: Any) -> list[float]:
    pairs = zip(compression.parameters(), peer.parameters(), strict=True)
    return [difference(ours.grad, theirs.grad) for ours, theirs in pairs]


def stray_gradients(module: nn.Module) -> list[float]:
    """Sizes of the gradients of everything but compressions."""
    others = [parameter for name, parameter in module.named_parameters() if "compress" not in name]
    return [0.0 if parameter.grad is None else parameter.grad.abs().max().item() for parameter in others]


@torch.no_grad()
def labml_layer(model: Any, index: int) -> CompressiveTransformerLayer:
    c, block = model.config, model.blocks[index]
    attention = RelativeMultiHeadAttention(c.num_heads, c.d_model, dropout_prob=0.0)
    layer = CompressiveTransformerLayer(
        d_model=c.d_model,
        self_attn=attention,
        feed_forward=FeedForward(c.d_model, c.d_inner, dropout=0.0),
        dropout_prob=0.0,
        compress=Conv1dCompression(c.compression_rate, c.d_model),
    ).double()
    layer.compress.load_state_dict(model.compressions[index].state_dict())
    layer.norm_self_attn.load_state_dict(block.attention_norm.state_dict())
    layer.norm_ff.load_state_dict(block.feed_forward_norm.state_dict())
    layer.feed_forward.layer1.load_state_dict(block.feed_forward[0].state_dict())
    layer.feed_forward.layer2.load_state_dict(block.feed_forward[3].state_dict())
    projections = (attention.query, attention.key, attention.value)
    for projection, weight in zip(projections, block.attention.qkv.weight.chunk(3), strict=True):
        projection.linear.weight.copy_(weight)
    attention.value.linear.bias.zero_()
    attention.output.weight.copy_(block.attention.out.weight)
    attention.output.bias.zero_()

    num_keys = c.cmem_lens[index] + c.mem_lens[index] + c.segment_len
    terms = model.relative_terms([num_keys] * c.num_layers, ())[index]
    # Row P of its tables is distance 0, and the rows before are the past.
    rows = slice(attention.P + 1 - num_keys, attention.P + 1)
    attention.key_pos_embeddings[rows] = terms.r
    attention.key_pos_bias[rows] = (terms.r * terms.v).sum(-1)
    attention.query_pos_bias.copy_(terms.u)
    return layer


def against_labml(settings: dict) -> dict[str, list[float]]:
    model = build(settings, pre_norm=True, memory_init="zeros")
    length, mem_len, cmem_len = settings["segment_len"], settings["mem_len"], settings["cmem_len"]
    layers = [labml_layer(model, i) for i in range(model.config.num_layers)]
    reconstruction = AttentionReconstructionLoss(layers)
    mask = torch.ones(length, cmem_len + mem_len + length).tril(cmem_len + mem_len)[..., None]
    found = defaultdict(list)
    for before, calls, out in through(model):
        for i, (layer, (x, y)) in enumerate(zip(layers, calls, strict=True)):
            x = x.transpose(0, 1)
            compressed, memory = before.past[i].transpose(0, 1).split([cmem_len, mem_len])
            output = layer(x=x, mem=memory, c_mem=compressed, mask=mask)
            found["output"].append(difference(y, output.transpose(0, 1)))
            slots = layer.compress(memory[:length]).transpose(0, 1)
            newest = out.state.past[i][:, cmem_len - slots.shape[1] : cmem_len]
            found["compressed slots"].append(difference(newest, slots))
            loss = reconstruction.calc_loss(layer, x, memory[:length])
            loss.backward()
            found["loss"].append(difference(out.losses[f"attention_reconstruction.{i}"], loss))
    for compression, layer in zip(model.compressions, layers, strict=True):
        found["gradient of the compression"] += gradient_differences(compression, layer.compress)
    found["gradient elsewhere, ours"] = stray_gradients(model)
    found["gradient elsewhere, theirs"] = stray_gradients(nn.ModuleList(layers))
    return found


@torch.no_grad()
def lucidrains_attention(model: Any, index: int) -> SelfAttention:
    """A copy, because its loss turns the gradient of its keys' and values' weight off for good."""
    c, attention = model.config, model.blocks[index].attention
    lengths = (c.segment_len, c.mem_lens[index], c.cmem_lens[index])
    layer = SelfAttention(c.d_model, *lengths, c.compression_rate, c.num_heads).double()
    layer.to_q.weight.copy_(attention.qkv.weight[: c.d_model])
    layer.to_kv.weight.copy_(attention.qkv.weight[c.d_model :])
    layer.to_out.weight.copy_(attention.out.weight)
    layer.to_out.bias.zero_()
    layer.compress_mem_fn.load_state_dict(model.compressions[index].state_dict())
    return layer


def post_ln(block: Any, x: Tensor, attended: Tensor) -> Tensor:
    x = block.attention_norm(x + attended)
    return block.feed_forward_norm(x + block.feed_forward(x))


def against_lucidrains(settings: dict) -> dict[str, list[float]]:
    model = build(settings)
    for parameter in (model.u, model.v, *model.position_projections.parameters()):
        nn.init.zeros_(parameter)
    layers = [lucidrains_attention(model, i) for i in range(model.config.num_layers)]
    memories: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)
    gives_all = settings["mem_len"] == settings["segment_len"]
    found = defaultdict(list)
    for _, calls, out in through(model):
        for i, (layer, (x, y)) in enumerate(zip(layers, calls, strict=True)):
            attended, (memory, compressed), loss = layer(x, memories[i])
            memories[i] = (memory.detach(), compressed.detach())
            found["output"].append(difference(y, post_ln(model.blocks[i], x, attended)))
            filled = model.slots_valid(i, out.state.filled)[0]
            found["memories"].append(difference(out.state.past[i][:, filled], torch.cat([compressed, memory], 1)))
            if gives_all:
                loss.backward()
                found["loss"].append(difference(out.losses[f"attention_reconstruction.{i}"], loss.squeeze()))
    if gives_all:
        for compression, layer in zip(model.compressions, layers, strict=True):
            found["gradient of the compression"] += gradient_differences(compression, layer.compress_mem_fn)
    return found


def main() -> None:
    comparisons = [("labml_nn", against_labml, settings) for settings in LABML_SETTINGS]
    comparisons += [
        ("compressive_transformer_pytorch", against_lucidrains, settings) for settings in LUCIDRAINS_SETTINGS
    ]
    passed = True
    for peer, compare, settings in comparisons:
        print(peer, settings)
        for name, differences in compare(settings).items():
            # Not Python's max, which can pass over NaN.
            worst = torch.tensor(differences, dtype=torch.float64).max().item()
            passed = passed and worst <= TOLERANCE
            print(f"  {worst:.2e}  {name}")
    if not passed:
        raise SystemExit(f"differs from a public Compressive Transformer by more than {TOLERANCE}")


main()
