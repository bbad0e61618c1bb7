"""How a task's workspace is divided: the areas' lengths, for kernels that carve them and callers who provide them.

``window`` is the number of keys that a unit sees, rounded up to whole panels; lengths may be TIR expressions.
"""

from ..spec import LoopSpec, Spec


def padded(count, step: int):
    """``count`` rounded up to a multiple of ``step``."""
    return (count + step - 1) // step * step


def band_qk_areas(spec: Spec, window) -> dict:
    """Keys as panels."""
    return {"k_panels": window * spec.key_width}


def band_pv_areas(spec: Spec, window) -> dict:
    """Values as rows."""
    return {"v_rows": window * padded(spec.value_width, spec.columns)}


def band_pv_t_areas(spec: Spec, window) -> dict:
    """Sums of the keys; the last group of rows may reach past them."""
    return {"out": (window + spec.tiles.rows) * padded(spec.value_width, spec.columns)}


def attend_areas(spec: Spec, window, rel_columns) -> dict:
    """Keys and relative positions as panels, values as rows, minus infinity where a key is switched off."""
    return {
        "k_panels": window * spec.key_width,
        "v_rows": window * padded(spec.value_width, spec.columns),
        "switched_off": window,
        "r_panels": rel_columns * spec.key_width,
    }


def attend_one_areas(spec: Spec, window) -> dict:
    """Scores of one query, whole vectors."""
    return {"scores": padded(window, spec.lanes)}


def attend_backward_areas(spec: Spec, window, rel_columns, columns) -> dict:
    """What scores are recomputed from, keys and positions as rows, and sums of the gradients that units share."""
    key_row, value_row = padded(spec.key_width, spec.columns), padded(spec.value_width, spec.columns)
    return {
        "k_panels": window * spec.key_width,
        "v_panels": window * spec.value_width,
        "switched_off": window,
        "r_panels": rel_columns * spec.key_width,
        "k_rows": window * key_row,
        "r_rows": rel_columns * key_row,
        "dk": (window + spec.tiles.rows) * key_row,
        "dv": (window + spec.tiles.rows) * value_row,
        "dr": (rel_columns + spec.tiles.rows) * key_row,
        "dbias": columns,
    }


def gated_loop_areas(spec: LoopSpec, num_layers) -> dict:
    """Vectors of the streams that go together; ``taps`` are a layer's inputs, the present one last."""
    streams = spec.streams
    return {
        "taps": spec.taps * streams * spec.padded(spec.channels),
        "gates": streams * 2 * spec.padded(spec.gates),
        "z": num_layers * streams * spec.padded(spec.gates),
        "skip": streams * spec.padded(spec.skip),
        "hidden": streams * spec.padded(spec.hidden),
        "head": streams * spec.head_width,
        "powers": spec.padded(spec.choices),
    }
