"""``seqmem show-mask``."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from seqmem.cli import cli


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["show-mask", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_layer_is_drawn_and_equal_heads_once(tmp_path: Path):
    text = run("longformer-lm", "--length", "6", "--png", str(tmp_path / "mask.png"))
    assert "layer 0: 6 tokens x 9 keys" in text
    assert "layer 1, head 0: 6 tokens x 20 keys" in text
    assert "layer 1, head 1: 6 tokens x 20 keys" in text
    assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")


def test_values_of_the_model_can_be_set():
    assert "layer 1: 6 tokens x 8 keys" in run(
        "longformer-lm", "--length", "6", "--set", "window=3", "--set", "dilation=1"
    )


@pytest.mark.parametrize("name", ["transformer-xl", "compressive", "sha-rnn", "transformer", "bigbird-lm", "reformer"])
def test_other_models(name: str):
    assert "tokens x" in run(name, "--length", "4")
