"""Generation by dilated gated convolutions: every layer, every token and the choice in one function."""

from types import SimpleNamespace

from ..adapter import T
from ..arguments import GATED_LOOP
from ..spec import LoopSpec
from .blocks import LOG2_E, constant, exp2, memory
from .choice import choice_statements
from .levels import level_statements
from .streams import row_statements
from .walk import carve, operands
from .workspace import gated_loop_areas

INTEGERS = ("rings", "dilations", "token_ring", "token", "forced", "tokens")
SATURATED = {"float32": (10.0, 40.0), "float64": (20.0, 300.0)}
"""Where tanh is 1, and where sigmoid of the negative is so small that a product with it is lost in any sum."""


def define(spec: LoopSpec):
    """:class:`seqmem.ops.loop.Loop`; streams are shared among tasks, and go through the layers some at a time.

    Where fewer are left, the last one goes along more than once, and the same is written as often.
    """
    dtype, streams = spec.dtype, spec.streams
    parts = _parts(spec)

    @T.prim_func(s_tir=True)
    def seqmem_task(data: T.handle, task: T.int32):
        T.func_attr({"calling_conv": 2, "global_symbol": "seqmem_task"})
        o = T.meta_var(operands(data, GATED_LOOP, dtype, dict.fromkeys(INTEGERS, "int64")))
        m = T.meta_var(carve(o, task, gated_loop_areas(spec, o.num_layers), dtype))
        row = T.alloc_buffer((streams,), "int64", scope="local")
        token = T.alloc_buffer((streams,), "int64", scope="local")
        begin: T.int64 = o.batch * task // o.num_tasks
        end: T.int64 = o.batch * (task + 1) // o.num_tasks
        for together in T.serial((end - begin + streams - 1) // streams):
            for i in T.serial(streams):
                row[i] = T.min(begin + together * streams + i, end - 1)
                token[i] = o.token[row[i]]
            for n in T.serial(o.num_tokens):
                parts.read(o, m, row, token, o.position + n)
                for layer in T.serial(o.num_layers):
                    parts.through(o, m, row, layer, o.position + n)
                parts.head(o, m, (o.position + n + 1) % o.num_phases)
                for i in T.serial(streams):
                    parts.choose(o, m, row, token, i, n)

    return seqmem_task


def _parts(spec: LoopSpec) -> SimpleNamespace:
    """A token's way: read, through each layer, to the head, where the next is chosen."""
    dtype, width, streams, channels = spec.dtype, spec.lanes, spec.streams, spec.channels
    past, first_past = spec.taps - 1, spec.first_taps - 1
    x_row, z_row, g_row = spec.padded(spec.channels), spec.padded(spec.gates), 2 * spec.padded(spec.gates)
    skip_row, hidden_row, head_row = spec.padded(spec.skip), spec.padded(spec.hidden), spec.head_width
    softmax = spec.kind == "softmax"
    rows, choice, level = row_statements(spec), choice_statements(spec), level_statements(spec)
    one = constant(dtype, 1.0)

    def gated(f, g):
        """``tanh(f) * sigmoid(g)`` by one division; NaN stays NaN."""
        most_f, most_g = (constant(dtype, bound) for bound in SATURATED[dtype])
        f = T.Select(f < -most_f, -most_f, f)
        g = T.Select(g < -most_g, -most_g, g)
        a = exp2(f * constant(dtype, -2 * LOG2_E), dtype)
        b = exp2(g * constant(dtype, -LOG2_E), dtype)
        return (one - a) / ((one + a) * (one + b))

    @T.inline
    def add_token(o, m, at, tap, token):
        if softmax:
            rows.add(m.taps, at, o.first, (tap * o.num_ids + token) * x_row, x_row)
        else:
            value: T.float64 = T.Cast("float64", 2 * token) / T.Cast("float64", o.num_ids - 1) - T.float64(1)
            for v in T.serial(x_row // width):
                for lane in T.vectorized(width):
                    m.taps[at + v * width + lane] = (
                        m.taps[at + v * width + lane] + T.Cast(dtype, value) * o.first[tap * x_row + v * width + lane]
                    )

    @T.inline
    def read(o, m, row, token, time):
        """The first layer's input; the tokens' ring moves on."""
        for i in T.serial(streams):
            at: T.int64 = (past * streams + i) * x_row
            rows.copy(m.taps, at, o.first_bias, 0, x_row)
            if first_past > 0:
                for tap in T.serial(first_past):
                    add_token(o, m, at, tap, o.token_ring[row[i] * first_past + (time + tap) % first_past])
            add_token(o, m, at, first_past, token[i])
        if first_past > 0:
            for i in T.serial(streams):
                o.token_ring[row[i] * first_past + time % first_past] = token[i]

    @T.inline
    def move_ring(o, m, row, layer, time):
        """Past inputs out of the ring of a layer, the present one into it."""
        ring = T.meta_var(memory(o.rings[layer], dtype))
        length: T.int64 = past * o.dilations[layer]
        slot: T.int64 = time % length
        for i in T.serial(streams):
            for tap in T.unroll(past):
                place: T.int64 = slot + tap * o.dilations[layer]
                rows.copy(
                    m.taps,
                    (tap * streams + i) * x_row,
                    ring,
                    (row[i] * length + T.Select(place < length, place, place - length)) * channels,
                    channels,
                )
        for i in T.serial(streams):
            rows.copy(ring, (row[i] * length + slot) * channels, m.taps, (past * streams + i) * x_row, channels)

    @T.inline
    def through(o, m, row, layer, time):
        if past > 0:
            move_ring(o, m, row, layer, time)
        for i in T.serial(streams):
            bias: T.int64 = layer * (1 + o.conditioned * (o.batch - 1)) + o.conditioned * row[i]
            rows.copy(m.gates, i * g_row, o.gates_bias, bias * g_row, g_row)
        rows.add_product(
            m.gates, 0, g_row, m.taps, 0, x_row, streams * x_row, spec.taps, channels,
            o.gates, layer * (spec.taps * channels * g_row),
        )  # fmt: skip
        for i in T.serial(streams):
            for v in T.serial(z_row // width):
                for lane in T.vectorized(width):
                    m.z[(layer * streams + i) * z_row + v * width + lane] = gated(
                        m.gates[i * g_row + v * width + lane], m.gates[i * g_row + z_row + v * width + lane]
                    )
        if layer + 1 < o.num_layers:
            for i in T.serial(streams):
                rows.add(m.taps, (past * streams + i) * x_row, o.out_bias, layer * x_row, x_row)
            rows.add_product(
                m.taps, past * streams * x_row, x_row, m.z, layer * streams * z_row, z_row, 0, 1, spec.gates,
                o.out, layer * (spec.gates * x_row),
            )  # fmt: skip

    @T.inline
    def head(o, m, phase):
        for i in T.serial(streams):
            rows.copy(m.skip, i * skip_row, o.skip_bias, 0, skip_row)
            rows.copy(m.hidden, i * hidden_row, o.hidden_bias, 0, hidden_row)
        rows.add_product(m.skip, 0, skip_row, m.z, 0, z_row, streams * z_row, o.num_layers, spec.gates, o.skip, 0)
        rows.rectify(m.skip, streams * skip_row)
        rows.add_product(m.hidden, 0, hidden_row, m.skip, 0, skip_row, 0, 1, spec.skip, o.hidden, 0)
        rows.rectify(m.hidden, streams * hidden_row)
        for i in T.serial(streams):
            rows.copy(m.head, i * head_row, o.head_bias, phase * head_row, head_row)
        rows.add_product(
            m.head, 0, head_row, m.hidden, 0, hidden_row, 0, 1, spec.hidden, o.head, phase * (spec.hidden * head_row)
        )

    @T.inline
    def choose(o, m, row, token, i, n):
        chosen = T.alloc_buffer((1,), "int64", scope="local")
        log_prob = T.alloc_buffer((1,), dtype, scope="local")
        found = T.alloc_buffer((2,), dtype, scope="local")
        number: T.int64 = row[i] * o.num_tokens + n
        at: T.int64 = i * head_row
        first: T.int64 = (o.position + n + 1) % o.num_phases * spec.choices
        choice.weigh(m.powers, m.head, at, found)
        if o.choosing != 0:
            choice.choose(o, m.powers, m.head, at, found[0], o.noise[2 * number], chosen)
            if softmax:
                token[i] = first + chosen[0]
            else:
                level.draw(o, m.head, at, o.noise[2 * number + 1], chosen)
                token[i] = chosen[0]
        else:
            token[i] = o.forced[number]
        if softmax:
            log_prob[0] = m.head[at + token[i] - first] - found[0] - found[1]
        else:
            level.log_prob(o, m.head, at, token[i], T.Cast("float64", found[0]) + T.Cast("float64", found[1]), log_prob)
        o.tokens[number] = token[i]
        o.log_probs[number] = log_prob[0]

    return SimpleNamespace(read=read, through=through, head=head, choose=choose)
