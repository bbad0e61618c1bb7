"""Attention by blocks in BigBird's pattern against what else there is on a CPU, forward and forward + backward."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import cycle
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from attention import DIRECTIONS, race
from contenders import LONGEST_MASK, Factories, Skip
from measure import report, run_among_peers
from shapes import PRODUCTS, Operands
from torch import Tensor

from seqmem.layers.block_attention import bigbird_layout
from seqmem.ops import Blocks, bind


@click.command()
@click.option("--json", "json_path", is_flag=False, flag_value="-", help="Write JSON to this path, or print it.")
@click.option("--backend", default="pytorch", show_default=True)
@click.option("--batch", "B", default=1, show_default=True)
@click.option("--length", "T", default=4096, show_default=True)
@click.option("--heads", "H", default=12, show_default=True)
@click.option("--width", "D", default=64, show_default=True)
@click.option("--size", default=64, show_default=True, help="Tokens of a block.")
@click.option("--random", "num_random", default=3, show_default=True, help="Random blocks that a block sees.")
@click.option("--causal", is_flag=True, help="What of it lies in the past.")
@click.option("--peers", is_flag=True, help="Run where Hugging Face's BigBird is; installs it on first use.")
@click.option("--rounds", default=7, show_default=True)
def blocks(json_path: str | None, backend: str, peers: bool, rounds: int, **shape: Any) -> None:
    """Fused attention by blocks in float32, [B, T, H, D], lse returned: by default the shape of BigBird's base model.

    Useful operations: 4 * B * D for every pair of a query and a key that it sees, 3.5 times that both ways.
    """
    if peers:
        run_among_peers(*(argument for argument in sys.argv if argument != "--peers"))
    of = BlockShape(**shape)
    record: dict[str, object] = {"shape": asdict(of) | {"backend": backend}}
    lines = [f"{of}, float32"]
    for direction, both_ways in DIRECTIONS.items():
        result = race(BlockOperands(of, both_ways), FACTORIES, backend, rounds)
        record[direction] = {**result.rows, "matmul_gflops": result.matmul_rate / 1e9, "skipped": result.skipped}
        lines += result.table(direction)
    report(record, lines, json_path)


@dataclass(frozen=True)
class BlockShape:
    """Self-attention of T tokens in BigBird's pattern."""

    B: int
    T: int
    H: int
    D: int
    size: int
    num_random: int
    causal: bool

    def __str__(self) -> str:
        what = f"blocks of {self.size}, {self.num_random} random" + ", causal" * self.causal
        return f"attend B{self.B} T{self.T} H{self.H} D{self.D}, {what}"

    @cached_property
    def pattern(self) -> Blocks:
        layout = bigbird_layout(self.H, -(-self.T // self.size), self.num_random, seed=0)
        return Blocks(torch.from_numpy(layout), self.size, self.causal)

    @property
    def random_blocks(self) -> list[list[np.ndarray]]:
        """By head, and by block but the first and the last."""
        everybody = bigbird_layout(1, self.pattern.layout.shape[1], 0, seed=0)
        drawn = self.pattern.layout.numpy() & ~everybody
        return [[np.flatnonzero(row) for row in rows[1:-1]] for rows in drawn]

    def operations(self, both_ways: bool) -> int:
        """Useful floating point operations, forward or forward and backward; a product of D numbers is 2 D."""
        return PRODUCTS["attend"][both_ways] * 2 * self.D * self.B * int(self.pattern.to_mask(self.T, self.T).sum())


class BlockOperands(Operands):
    """Random operands of a shape, the same every time, and with ``both_ways`` the gradient of its result."""

    shape: BlockShape  # type: ignore[assignment]

    def __init__(self, shape: BlockShape, both_ways: bool):
        self.shape, self.both_ways = shape, both_ways
        torch.manual_seed(0)
        self.q, self.k, self.v, self.dout = (torch.randn(shape.B, shape.T, shape.H, shape.D) for _ in range(4))
        self.inputs = (self.q, self.k, self.v)
        for tensor in self.inputs:
            tensor.requires_grad_(both_ways)

    def seqmem(self, backend: str) -> Callable[[], Tensor]:
        ops = bind(backend)
        return lambda: ops.attend(self.q, self.k, self.v, self.shape.pattern)[0]


def sdpa_mask(operands: Any) -> Callable[[], Tensor]:
    """Scaled dot product attention over all keys, under a mask ready made."""
    shape = operands.shape
    if shape.T**2 * shape.H > LONGEST_MASK**2:
        raise Skip(f"a mask of {shape.H} x {shape.T} x {shape.T}")
    seen = shape.pattern.to_mask(shape.T, shape.T)
    mask = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)

    def run() -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in operands.inputs)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)

    return run


def flex(operands: Any) -> Callable[[], Tensor]:
    """PyTorch's FlexAttention, compiled for this shape; on a CPU it has no backward."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    shape, layout = operands.shape, operands.shape.pattern.layout
    if operands.both_ways:
        raise Skip("on a CPU it has no backward")
    if torch.get_num_threads() > 1:
        raise Skip("with a mask of blocks and several threads it corrupts the heap (torch 2.12.1)")

    def seen(_batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        listed = layout[head, query // shape.size, key // shape.size]
        return listed & (key <= query) if shape.causal else listed

    mask = create_block_mask(seen, None, shape.H, shape.T, shape.T, device="cpu", BLOCK_SIZE=shape.size)
    compiled = torch.compile(flex_attention, dynamic=False)

    def run() -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in operands.inputs)
        return compiled(q, k, v, block_mask=mask).transpose(1, 2)

    return run


def bigbird(operands: Any) -> Callable[[], Tensor]:
    """Hugging Face's BigBird: its block-sparse products with our random blocks, its projections left out."""
    shape = operands.shape
    if shape.causal or shape.T % shape.size:
        raise Skip("it takes no causal pattern, and lengths divisible by the block")
    try:
        from transformers import BigBirdConfig
        from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel
    except ImportError:
        raise Skip("transformers is not installed here; add --peers") from None
    size = dict(hidden_size=shape.H * shape.D, num_attention_heads=shape.H, max_position_embeddings=shape.T)
    layer = BigBirdBlockSparseAttention(
        BigBirdConfig(block_size=shape.size, num_random_blocks=shape.num_random, **size)
    )
    random = np.array(shape.random_blocks)
    of_heads = cycle(random)
    layer._bigbird_block_rand_mask = lambda *_, **__: next(of_heads)
    layer._bigbird_block_rand_mask_with_head = lambda *_, **__: random
    masks = BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(shape.B, shape.T), shape.size)
    blocked, band, rows, columns = masks

    def run() -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in operands.inputs)
        return layer.bigbird_block_sparse_attention(
            q, k, v, band, rows, columns, blocked, blocked, shape.H, shape.num_random, shape.D, shape.size, shape.size,
            shape.B, shape.T, shape.T, seed=0, plan_from_length=None, plan_num_rand_blocks=None,
            output_attentions=False,
        )[0].view(shape.B, shape.T, shape.H, shape.D)  # fmt: skip

    return run


FACTORIES: Factories = {
    "sdpa, mask": sdpa_mask,
    "FlexAttention, compiled": flex,
    "BigBird, its blocks": bigbird,
}
