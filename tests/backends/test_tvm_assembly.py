"""The inner loops as machine code: sums stay in registers. Looked at for every instruction set, wherever this runs."""

import re
from collections.abc import Iterator
from functools import cache

import pytest
from seqmem.backends.tvm.compiler import assembly_text
from seqmem.backends.tvm.spec import LoopSpec, Spec
from seqmem.backends.tvm.tiles import UNTUNED

ADD_PRODUCT = {
    "avx512": r"vfmadd231ps\s.*%(zmm\d+)$",
    "avx2": r"vfmadd231ps\s.*%(ymm\d+)$",
    "neon": r"fmla\s+(v\d+)\.[24][sd]",
}
"""An instruction that adds a product to a sum, and the register that holds the sum."""
SPILL = re.compile(r"\sv?mov\w+\s.*\b\d+\(%rsp\)")
"""A register moved to or from a fixed place of the stack; an index would make it a load from a buffer."""
PRODUCTS = {"attend": 3, "attend_backward": 8}
"""How many kinds of products a kernel has; the compiler may make several loops of one."""


@cache
def code(kernel: str, isa: str, dtype: str) -> str:
    return assembly_text(Spec(kernel, dtype, 64, 64, UNTUNED[isa], isa))


def innermost_loops(text: str) -> Iterator[str]:
    """Bodies of the loops without branches: from a label to the jump back to it."""
    label, body = "", []
    for line in text.splitlines():
        if found := re.match(r"(\.LBB\w+):", line):
            label, body = found[1], []
        elif re.match(rf"\s+j\w+\s+{re.escape(label)}$", line):
            yield "\n".join(body)
        elif re.match(r"\s+\w", line):
            body.append(line)


def sums(text: str, isa: str) -> list[str]:
    return re.findall(ADD_PRODUCT[isa], text, re.MULTILINE)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
@pytest.mark.parametrize("kernel", PRODUCTS)
def test_products_keep_their_sums_in_registers(kernel: str, isa: str):
    tile = UNTUNED[isa].rows * UNTUNED[isa].vectors
    products = [loop for loop in innermost_loops(code(kernel, isa, "float32")) if len(sums(loop, isa)) >= tile]
    assert len(products) >= PRODUCTS[kernel]
    for loop in products:
        assert len(set(sums(loop, isa))) >= tile >= 12, loop
        assert not SPILL.search(loop), loop


@pytest.mark.parametrize("kernel", ["attend", "attend_one", "attend_backward", "band_qk", "band_pv", "band_pv_t"])
def test_every_kernel_compiles_for_arm(kernel: str):
    assert sums(code(kernel, "neon", "float32"), "neon")


@cache
def loop_code(isa: str, streams: int) -> str:
    """The generation loop of a small WaveNet."""
    sizes = dict(channels=32, gates=32, skip=128, hidden=128, choices=256, taps=2, first_taps=2, kind="softmax")
    return assembly_text(LoopSpec("gated_loop", "float32", isa, **sizes, streams=streams))  # type: ignore[arg-type]


@pytest.mark.parametrize("streams", [1, 8])
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_products_of_a_generation_loop_keep_their_sums_in_registers(isa: str, streams: int):
    found = {loop: len(set(sums(loop, isa))) for loop in innermost_loops(loop_code(isa, streams))}
    products = {loop: count for loop, count in found.items() if count >= 2 and count % streams == 0}
    assert len(products) >= 5
    for loop in products:
        assert not SPILL.search(loop), loop


def test_a_generation_loop_compiles_for_arm():
    assert len(set(sums(loop_code("neon", 8), "neon"))) >= 16


def test_a_spill_would_be_seen():
    assert SPILL.search("\tvmovups\t%ymm3, 64(%rsp)")
    assert SPILL.search("\tvmovaps\t32(%rsp), %ymm3")
    assert not SPILL.search("\tvmovups\t64(%rsp,%r11), %ymm3")
