"""A model's generation loop as one compiled call: its weights laid out once, its queues moved on in place."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seqmem.ops.logistics import LOG_SCALES
from seqmem.ops.loop import ConvolutionProgram, Queues
from seqmem.ops.step import Affine

from .arguments import GATED_LOOP
from .kernels.workspace import gated_loop_areas
from .library import kernel
from .spec import LoopSpec, host_isa

LOWEST = -1e30
"""Logit of a class that is none."""
MOST_STREAMS = {"avx512": 8, "avx2": 4, "neon": 8, "generic": 4}
"""That go through the layers together: their sums must find room in registers."""


class GatedLoop:
    """The :class:`seqmem.ops.loop.Loop` of a program, on CPUs. Weights are copied: later changes of them go unseen.

    A stream is computed alike whatever goes beside it, on however many threads.
    """

    def __init__(self, program: ConvolutionProgram):
        self.spec = _spec_of(program)
        self.num_ids, self.num_phases = program.num_classes, program.num_phases
        with torch.no_grad():
            self.weights = _laid_out(program, self.spec)
        self.dilations = torch.tensor([layer.dilation for layer in program.layers])

    def __call__(
        self,
        queues: Queues,
        token: Tensor,
        noise: Tensor,
        temperature: float,
        top_p: float,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        batch, num_tokens = noise.shape[:2]
        self._check(queues, token, forced, num_tokens)
        num_tasks = max(1, min(batch, torch.get_num_threads()))
        spec = replace(self.spec, streams=_streams(-(-batch // num_tasks), MOST_STREAMS[self.spec.isa]))
        like = self.weights["head"]
        task_workspace = sum(gated_loop_areas(spec, len(self.dilations)).values())
        tokens, log_probs = token.new_empty(batch, num_tokens), like.new_empty(batch, num_tokens)
        given = self.weights | {
            "rings": torch.tensor([ring.data_ptr() for ring in queues.layers]),
            "dilations": self.dilations,
            "token_ring": queues.tokens,
            "token": token.contiguous(),
            "noise": noise.to(like.dtype).contiguous(),
            "forced": None if forced is None else forced.contiguous(),
            "tokens": tokens,
            "log_probs": log_probs,
            "workspace": like.new_empty(num_tasks * task_workspace),
            "batch": batch,
            "num_layers": len(self.dilations),
            "num_tokens": num_tokens,
            "position": queues.position,
            "conditioned": int(self.weights["gates_bias"].shape[1] > 1),
            "num_ids": self.num_ids,
            "num_phases": self.num_phases,
            "choosing": int(forced is None),
            "task_workspace": task_workspace,
            "temperature": float(temperature),
            "top_p": float(top_p),
            "least_log_scale": LOG_SCALES[0],
            "most_log_scale": LOG_SCALES[1],
        }
        kernel(spec).run(GATED_LOOP.pack(given), num_tasks)
        queues.position += num_tokens
        return tokens, log_probs

    def _check(self, queues: Queues, token: Tensor, forced: Tensor | None, num_tokens: int) -> None:
        """Refuse what would make the kernel reach outside its tensors."""
        if not all(ring.is_contiguous() for ring in (queues.tokens, *queues.layers)):
            raise ValueError("queues are moved on in place and must be contiguous")
        read = torch.cat([token, queues.tokens.flatten()])
        if ((read < 0) | (read >= self.num_ids)).any():
            raise ValueError(f"a token read is not among the {self.num_ids} ids")
        if forced is not None and forced.numel():
            phases = (queues.position + 1 + torch.arange(num_tokens)) % self.num_phases
            if not torch.equal(forced // (self.num_ids // self.num_phases), phases.expand_as(forced)):
                raise ValueError("a forced token is not among the ids of its phase")


def _spec_of(program: ConvolutionProgram) -> LoopSpec:
    layer, num_outputs = program.layers[0], program.head.weight.shape[0]
    return LoopSpec(
        kernel="gated_loop",
        dtype=str(program.like.dtype).removeprefix("torch."),
        isa=host_isa(),
        channels=layer.gates.shape[1],
        gates=layer.skip.weight.shape[1],
        skip=layer.skip.weight.shape[0],
        hidden=program.hidden.weight.shape[0],
        choices=num_outputs // (program.num_phases if program.kind == "softmax" else 3),
        taps=layer.gates.shape[2],
        first_taps=program.first.shape[0],
        kind=program.kind,
        streams=1,
    )


def _streams(wanted: int, most: int) -> int:
    """The next power of two, so that few kernels serve all batches."""
    return min(most, 1 << max(0, wanted - 1).bit_length())


def _laid_out(program: ConvolutionProgram, spec: LoopSpec) -> dict[str, Tensor]:
    """The weights as the kernel reads them: a row of outputs for every input, of whole vectors, zeros after them."""
    layers, padded = program.layers, spec.padded
    num_streams = max(layer.bias.shape[0] for layer in layers)
    biases = [layer.bias.expand(num_streams, -1).unflatten(1, (2, -1)) for layer in layers]
    gates = [layer.gates.permute(2, 1, 0).unflatten(2, (2, -1)) for layer in layers]
    out = [_rows(layer.out, layer.skip.weight.new_zeros(spec.channels, spec.gates)) for layer in layers]
    skip = [_rows(layer.skip, layer.skip.weight) for layer in layers]
    hidden, hidden_bias = _rows(program.hidden, program.hidden.weight)
    head, head_bias = _rows(program.head, program.head.weight)
    # By phase, and a mixture's logits, means and log-scales apart; absent choices are never taken.
    phases, parts = (program.num_phases, 1) if program.kind == "softmax" else (1, 3)
    head = head.unflatten(1, (phases, parts, spec.choices)).movedim(1, 0)
    head_bias = head_bias.view(phases, parts, spec.choices)
    laid_out = {
        "first": _padded(program.first, padded(spec.channels)),
        "first_bias": _padded(program.first_bias, padded(spec.channels)),
        "gates": _padded(torch.stack(gates), padded(spec.gates)),
        "gates_bias": _padded(torch.stack(biases), padded(spec.gates)),
        "out": _padded(torch.stack([weight for weight, _ in out]), padded(spec.channels)),
        "out_bias": _padded(torch.stack([bias for _, bias in out]), padded(spec.channels)),
        "skip": _padded(torch.cat([weight for weight, _ in skip]), padded(spec.skip)),
        "skip_bias": _padded(torch.stack([bias for _, bias in skip]).sum(0), padded(spec.skip)),
        "hidden": _padded(hidden, padded(spec.hidden)),
        "hidden_bias": _padded(hidden_bias, padded(spec.hidden)),
        "head": _padded(head, padded(spec.choices)),
        "head_bias": _padded(head_bias, padded(spec.choices), LOWEST),
    }
    return {name: tensor.contiguous() for name, tensor in laid_out.items()}


def _rows(affine: Affine | None, absent: Tensor) -> tuple[Tensor, Tensor]:
    """The weight ``[in, out]`` and the bias, which may be absent, as the whole may be."""
    weight = absent if affine is None else affine.weight
    bias = None if affine is None else affine.bias
    return weight.t(), weight.new_zeros(len(weight)) if bias is None else bias


def _padded(tensor: Tensor, length: int, value: float = 0.0) -> Tensor:
    """Rows as long as that."""
    return F.pad(tensor, (0, length - tensor.shape[-1]), value=value)
