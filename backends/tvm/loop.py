"""A model's generation loop as one compiled call: its weights laid out once, its queues moved on in place."""

import torch
from torch import Tensor

from seqmem.ops.logistics import LOG_SCALES
from seqmem.ops.loop import ConvolutionProgram, Queues

from .arguments import GATED_LOOP
from .kernels.workspace import gated_loop_areas
from .library import kernel
from .loop_weights import laid_out
from .spec import LoopSpec, host_isa

MOST_STREAMS = 8
"""That go through the layers together, so that their sums find room in registers."""


class GatedLoop:
    """The :class:`seqmem.ops.loop.Loop` of a program whose weights stay as they are, on CPUs.

    A stream is computed alike whatever goes beside it, on however many threads.
    """

    def __init__(self, program: ConvolutionProgram):
        self.program = program
        self.dilations = torch.tensor([layer.dilation for layer in program.layers])
        self._laid_out: dict[LoopSpec, dict[str, Tensor]] = {}

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
        spec = _spec(self.program, -(-batch // num_tasks))
        weights = self._weights(spec)
        like, num_layers = weights["head"], len(self.dilations)
        task_workspace = sum(gated_loop_areas(spec, num_layers).values())
        tokens, log_probs = token.new_empty(batch, num_tokens), like.new_empty(batch, num_tokens)
        given = weights | {
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
            "num_layers": num_layers,
            "num_tokens": num_tokens,
            "position": queues.position,
            "conditioned": int(weights["gates_bias"].shape[1] > 1),
            "num_ids": self.program.num_classes,
            "num_phases": self.program.num_phases,
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

    def _weights(self, spec: LoopSpec) -> dict[str, Tensor]:
        if spec not in self._laid_out:
            self._laid_out[spec] = laid_out(self.program, spec)
        return self._laid_out[spec]

    def _check(self, queues: Queues, token: Tensor, forced: Tensor | None, num_tokens: int) -> None:
        """Refuse what would make the kernel reach outside its tensors."""
        num_ids, num_phases = self.program.num_classes, self.program.num_phases
        if not all(ring.is_contiguous() for ring in (queues.tokens, *queues.layers)):
            raise ValueError("queues are moved on in place and must be contiguous")
        read = torch.cat([token, queues.tokens.flatten()])
        if ((read < 0) | (read >= num_ids)).any():
            raise ValueError(f"a token read is not among the {num_ids} ids")
        if forced is not None:
            phases = (queues.position + 1 + torch.arange(num_tokens)) % num_phases
            if (forced // (num_ids // num_phases) != phases).any():
                raise ValueError("a forced token is not among the ids of its phase")


def _spec(program: ConvolutionProgram, most_streams: int) -> LoopSpec:
    """The kernel for tasks of so many streams; a power of two go together, so that few kernels serve all batches."""
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
        streams=min(MOST_STREAMS, 1 << max(0, most_streams - 1).bit_length()),
    )
