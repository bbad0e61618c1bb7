"""Titans' neural long-term memory (Behrouz, Zhong and Mirrokni 2025, arXiv 2501.00663), as a layer."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from seqmem.layers.convolved import ConvolvedProjection
from seqmem.layers.fast_weights import FastWeights, Weights, read_and_write
from seqmem.layers.linear import Linear
from seqmem.layers.memory_gates import Gates
from seqmem.layers.memory_network import read
from seqmem.layers.step_bound import crowding
from seqmem.ops import Ops
from seqmem.ops.autocast import suspended
from seqmem.ops.backend import accumulation_dtype
from seqmem.state import State


class MemoryConfig(BaseModel):
    """The memory of a layer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_heads: int = Field(1, gt=0, description="memories side by side, each of an equal part of the width")
    depth: int = Field(2, ge=1, le=4, description="layers of the network that is the memory")
    expansion: float = Field(4.0, gt=0, description="width between its layers, in widths of a head")
    init_scale: float = Field(1.0, gt=0, description="of the weights that it begins with")
    chunk_len: int = Field(64, gt=0, description="tokens whose gradients are taken at the same weights")
    gates: Literal["token", "chunk"] = Field("token", description="of every token, or of a chunk: its first token's")
    kernel_size: int = Field(4, gt=0, description="of the convolution after each projection")
    min_decay: float = Field(1e-4, ge=0, lt=1, description="least share of the memory that a token forgets")
    max_step: float = Field(0.4, gt=0, description="largest step along a token's surprise, its momentum included")


@dataclass(frozen=True)
class MemoryState(State):
    """What a memory carries from call to call.

    Args:
        fast: the weights that learn.
        past: inputs of the convolution before the next token, ``[B, K - 1, 3 d]``.
        keys: of the unfinished chunk, ``[B, H, u, D]``.
        crowding: of those keys, ``[B, H, u]``.
        gates: that the last token had, ``[B, 3, H]``.
    """

    fast: FastWeights
    past: Tensor
    keys: Tensor
    crowding: Tensor
    gates: Tensor


class NeuralMemory(nn.Module):
    """A network that learns, while the sequence is read, to give back values for keys: ``[B, T, d] -> [B, T, d]``.

    Of every token comes a key, a value, a query and three gates; the network's weights take a step against
    ``|M(k) - v|^2`` with momentum and forgetting (equations 8 to 14), and ``M(q)`` is read with the token's own step
    taken (equation 15). Sequences and heads have networks of their own, in float32.

    Where the paper is silent: SiLU between the network's layers, which have no biases; the convolution has 4 taps and
    stands between projection and SiLU; values are divided by the square root of their width, and what is read is
    normalised by RMSNorm, in each head; gates are sigmoids of linear maps.

    Stable by default. With momentum a surprise adds ``max_step`` of its gradient at most: ``theta = max_step (1 - eta)
    sigmoid``. Since all gradients of a chunk are taken at the same weights, a key that comes again would take its step
    again, and keys alike would overshoot together: the step of a token is divided by how crowded its key's place is
    among the keys before it in the chunk (:func:`~seqmem.layers.step_bound.crowding`), 1 for new keys. All steps of a
    chunk then add up to less than 2.4 along any direction; ``1 / max_step`` is what a matrix for a memory bears.
    Forgetting is at least ``min_decay``.
    """

    def __init__(self, d_model: int, config: MemoryConfig, ops: Ops):
        super().__init__()
        self.config = config
        self.ops = ops
        width = d_model // config.num_heads
        self.heads = (config.num_heads, width)
        inner = round(config.expansion * width)
        widths = [width, *[inner] * (config.depth - 1), width]
        self.qkv = ConvolvedProjection(d_model, 3 * d_model, config.kernel_size, ops)
        self.gates = nn.Linear(d_model, 3 * config.num_heads)
        self.initial_weights = nn.ParameterList(torch.empty(config.num_heads, i, o) for i, o in pairwise(widths))
        self.norm = nn.RMSNorm(width)
        self.gate = Linear(d_model, d_model, bias=False)
        self.out = Linear(d_model, d_model, bias=False)

    def reset_parameters(self) -> None:
        """Weights N(0, scale^2 / inputs); forgetting begins at 0.001 a token, momentum and steps half open."""
        self.qkv.reset_parameters()
        for weight in self.initial_weights:
            nn.init.normal_(weight, 0, self.config.init_scale * weight.shape[1] ** -0.5)
        nn.init.zeros_(self.gates.bias)
        nn.init.constant_(self.gates.bias[: self.config.num_heads], -7)
        nn.init.ones_(self.norm.weight)

    def init_state(self, batch_size: int) -> MemoryState:
        """A memory that has seen nothing; gradients reach the network's first weights through it."""
        dtype = accumulation_dtype(self.gates.weight.dtype)
        weights = tuple(weight.to(dtype).expand(batch_size, *weight.shape) for weight in self.initial_weights)
        keys = weights[0].new_zeros(batch_size, self.heads[0], 0, self.heads[1])
        gates = keys.new_zeros(batch_size, 3, self.heads[0])
        return MemoryState(FastWeights.fresh(weights), self.qkv.initial(batch_size), keys, keys[..., 0], gates)

    def forward(self, x: Float[Tensor, "B T d"], state: MemoryState) -> tuple[Float[Tensor, "B T d"], MemoryState]:
        """What every token reads after it has been written, and the memory after the last."""
        projected, past = self.qkv(x, state.past)
        q, k, v = projected.unflatten(-1, (3, *self.heads)).permute(2, 0, 3, 1, 4)
        with suspended(x):
            dtype = state.fast.weights[0].dtype
            q, k = (F.normalize(part.to(dtype), dim=-1) for part in (q, k))
            opened = self._opened(x.to(dtype), state)
            gates = self._gates(opened)
            crowded = crowding(k, state.keys, state.crowding, self.config.chunk_len)
            step = gates.step / crowded
            values = v.to(dtype) / self.heads[1] ** 0.5
            seen, fast = read_and_write(
                self.ops, state.fast, q, k, values, replace(gates, step=step), self.config.chunk_len
            )
        parts = ((state.keys, k), (state.crowding, crowded))
        keys, of_keys = (torch.cat(part, 2) for part in parts)
        unfinished = slice(keys.shape[2] - fast.position, None)
        kept = (keys[:, :, unfinished], of_keys[:, :, unfinished])
        return self._gated(seen, x), MemoryState(fast, past, *kept, opened[..., -1])

    def recall(self, q: Float[Tensor, "B T d"], weights: Weights, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        """What queries read of a memory that stays as it is.

        Args:
            q: projected, not yet normalised.
            weights: ``[B, H, i, o]`` of every layer.
            x: the tokens that ask, for the gate.
        """
        with suspended(x):
            by_head = F.normalize(q.to(weights[0].dtype).unflatten(-1, self.heads).transpose(1, 2), dim=-1)
            seen = read(weights, by_head)
        return self._gated(seen, x)

    def problem(self, state: MemoryState) -> str | None:
        """What to do about weights that are not finite; None for finite ones."""
        if all(weight.sum().isfinite() for weight in state.fast.weights):
            return None
        return (
            "its memory is no longer finite: its steps were too long; lower model.memory.max_step "
            f"({self.config.max_step:g}) or train.lr"
        )

    def after(self, first: Float[Tensor, "P d"], batch_size: int) -> tuple[Float[Tensor, "B P d"], MemoryState]:
        """What the memory makes of the first tokens of every sequence, and how it stands after them, at a border."""
        first, state = first.expand(batch_size, -1, -1), self.init_state(batch_size)
        out, state = self(first, state) if first.shape[1] else (first, state)
        return out, replace(
            state, fast=state.fast.at_border(), keys=state.keys[:, :, :0], crowding=state.crowding[:, :, :0]
        )

    def _gated(self, seen: Float[Tensor, "B H T D"], x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        return self.out(self.norm(seen).transpose(1, 2).flatten(2).to(x.dtype) * self.gate(x))

    def _opened(self, x: Float[Tensor, "B T d"], state: MemoryState) -> Float[Tensor, "B 3 H T"]:
        """How far each token opens the gates of forgetting, momentum and step, from 0 to 1."""
        logits = F.linear(x, self.gates.weight.to(x.dtype), self.gates.bias.to(x.dtype))
        opened = logits.sigmoid().mT.unflatten(1, (3, -1))
        if self.config.gates == "token":
            return opened
        with_last = torch.cat([state.gates[..., None], opened], -1)
        since = torch.arange(state.fast.position, state.fast.position + x.shape[1], device=x.device)
        first = torch.arange(x.shape[1], device=x.device) - since % self.config.chunk_len
        return with_last[..., (first + 1).clamp(min=0)]

    def _gates(self, opened: Float[Tensor, "B 3 H T"]) -> Gates:
        c = self.config
        decay, momentum, step = opened.unbind(1)
        return Gates(c.min_decay + (1 - c.min_decay) * decay, momentum, c.max_step * (1 - momentum) * step)
