"""The adaptive softmax of Transformer-XL's authors, its vectors shared with an adaptive embedding."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqmem.layers.head import Head
from seqmem.layers.linear import linear
from seqmem.layers.vocabulary import PROJECTION_STD
from seqmem.ops.autocast import suspended


class ProjectedSoftmax(Head):
    """Clusters of tokens, each with vectors of its own width and projections to and from ``d`` (Dai et al. 2019).

    Frequent tokens must have the smallest ids. The vectors of cluster i have width ``d_embed // div_value^i``; in the
    softmax of the first cluster every other cluster is one more class. Embedding and softmax share vectors, and they
    share a cluster's projection where it is tied. With ``div_value = 1`` all vectors are one table that is embedded
    through one projection, and through none where ``d_embed = d``.

    Args:
        cutoffs: first id of every cluster but the first.
        tied: for every cluster whether the softmax has the embedding's projection.
    """

    cluster_vectors: Tensor | None
    cluster_bias: Tensor | None

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        cutoffs: Sequence[int],
        div_value: int,
        d_embed: int,
        tied: Sequence[bool],
    ):
        super().__init__()
        self.d_model = d_model
        self.clusters = list(pairwise([0, *cutoffs, vocab_size]))
        self.tables = [(0, vocab_size)] if div_value == 1 else self.clusters
        widths = [d_embed // div_value**i for i in range(len(self.tables))]
        self.vectors = _parameters((high - low, width) for (low, high), width in zip(self.tables, widths, strict=True))
        self.biases = _parameters((high - low,) for low, high in self.tables)
        clusters = (torch.empty(len(cutoffs), d_embed), torch.empty(len(cutoffs))) if cutoffs else (None, None)
        for name, values in zip(("cluster_vectors", "cluster_bias"), clusters, strict=True):
            self.register_parameter(name, None if values is None else nn.Parameter(values))
        projected = div_value > 1 or d_embed != d_model
        self.projections = _parameters((d_model, width) for width in widths if projected)
        own = [i for i, is_tied in enumerate(tied) if projected and not is_tied]
        self.own_projections = nn.ParameterDict(
            {str(i): nn.Parameter(torch.empty(d_model, widths[self._table(i)])) for i in own}
        )

    def reset_parameters(self, std: float) -> None:
        """Vectors N(0, std), projections N(0, 0.01), biases 0."""
        for name, parameter in self.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, 0, PROJECTION_STD if "projections" in name else std)

    def _table(self, cluster: int) -> int:
        return cluster if len(self.tables) > 1 else 0

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
        """Vectors of tokens, scaled by ``sqrt(d)``."""
        embedded = self.vectors[0].new_zeros(*tokens.shape, self.d_model)
        for table, (low, high) in enumerate(self.tables):
            mine = (tokens >= low) & (tokens < high)
            vectors = F.embedding(tokens[mine] - low, self.vectors[table])
            if len(self.projections):
                vectors = F.linear(vectors, self.projections[table])
            embedded[mine] = vectors.to(embedded.dtype)
        return embedded * math.sqrt(self.d_model)

    def logits(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... V"]:
        """Log-probabilities of every token: large, meant for a few positions."""
        with suspended(hidden):
            rows = self._rows(hidden)
            first = self._log_probs(rows, 0)
            size = self.clusters[0][1]
            rest = [
                self._log_probs(rows, cluster) + first[:, size + cluster - 1, None]
                for cluster in range(1, len(self.clusters))
            ]
            return torch.cat([first[:, :size], *rest], -1).view(*hidden.shape[:-1], -1)

    def nll(self, hidden: Float[Tensor, "... d"], targets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Negative log-likelihood in nats, without building a row over the whole vocabulary."""
        with suspended(hidden):
            rows, wanted = self._rows(hidden), targets.flatten()
            size = self.clusters[0][1]
            # Of a token elsewhere, the first cluster knows its cluster.
            cutoffs = torch.tensor([low for low, _ in self.clusters[1:]], dtype=wanted.dtype, device=wanted.device)
            cluster_of = torch.bucketize(wanted, cutoffs, right=True)
            among_first = wanted.where(cluster_of == 0, size + cluster_of - 1)
            log_probs = self._log_probs(rows, 0).gather(1, among_first[:, None])[:, 0]
            for cluster, (low, _) in enumerate(self.clusters[1:], 1):
                mine = (cluster_of == cluster).nonzero()[:, 0]
                within = self._log_probs(rows[mine], cluster).gather(1, wanted[mine, None] - low)[:, 0]
                log_probs = log_probs.index_add(0, mine, within)
            return -log_probs.view(targets.shape)

    def _rows(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "N d"]:
        return hidden.flatten(0, -2).to(self.vectors[0].dtype)

    def _log_probs(self, rows: Float[Tensor, "N d"], cluster: int) -> Float[Tensor, "N C"]:
        """Within a cluster; in the first, the other clusters are classes too."""
        low, high = self.clusters[cluster]
        table = self._table(cluster)
        start = self.tables[table][0]
        vectors, bias = (values[table][low - start : high - start] for values in (self.vectors, self.biases))
        if cluster == 0 and self.cluster_vectors is not None:
            vectors = torch.cat([vectors, self.cluster_vectors])
            bias = torch.cat([bias, cast(Tensor, self.cluster_bias)])
        if len(self.projections):
            own = str(cluster)
            rows = rows @ (self.own_projections[own] if own in self.own_projections else self.projections[table])
        scores = linear(rows, vectors, bias)
        return scores.log_softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def _parameters(shapes: Iterable[tuple[int, ...]]) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(torch.empty(shape)) for shape in shapes)
