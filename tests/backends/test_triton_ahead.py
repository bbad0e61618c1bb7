"""The Triton kernels as machine code for GPUs that are not here: they build, fit, and use tensor cores."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from seqmem.backends.triton.ahead import SHARED_BYTES

STACK_BYTES = {
    "attend": 184,
    "attend_queries": 256,
    "attend_keys": 336,
    "attend_columns": 16,
    "attend_bias": 40,
    "linear_attention": 512,
    "decay_gradient": 480,
}
"""Of a thread, to which registers are spilled: a budget, none for other kernels."""


@cache
def compiled(architecture: int) -> list[dict]:
    """What became of every kernel."""
    program = Path(__file__).with_name("triton_ahead.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(program), str(architecture)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.mark.parametrize("architecture", SHARED_BYTES)
def test_every_kernel_builds_and_fits(architecture: int):
    found = compiled(architecture)
    names = {about["kernel"] for about in found}
    assert {"attend", "attend_queries", "attend_keys", "attend_columns", "attend_bias"} <= names
    assert {"band_qk", "band_pv", "band_pv_t", "scan", "linear_attention", "by_channel", "by_product"} <= names
    assert {"attend_one", "merge_parts", "put"} <= names
    for about in found:
        assert about["shared"] <= SHARED_BYTES[architecture], about
        assert about["stack"] <= STACK_BYTES.get(about["kernel"], 0), about


def test_products_of_halves_run_on_hoppers_own_instructions():
    halves = [about for about in compiled(90) if about["dtype"] in ("torch.bfloat16", "torch.float16")]
    wide = [about for about in halves if about["kernel"] in ("attend", "attend_queries") and about["queries"] >= 64]
    assert wide
    for about in wide:
        assert about["tensor_cores"] == ["wgmma"], about


def test_attention_of_halves_to_a_band_or_to_all_keys_spills_nothing_on_hopper():
    halves = [about for about in compiled(90) if about["dtype"] in ("torch.bfloat16", "torch.float16")]
    found = [about for about in halves if about["kernel"] == "attend" and "'gather'" not in about["constants"]]
    assert len(found) > 3
    assert not [about for about in found if about["stack"]]
