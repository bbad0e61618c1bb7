"""The three spellings of a setting."""

import click
import pytest

from seqmem.cli.settings import split_settings


@pytest.mark.parametrize(
    "arguments",
    [
        ["pg19", "--train.lr", "1e-3"],
        ["--train.lr", "1e-3", "pg19"],
        ["pg19", "--train.lr=1e-3"],
        ["train.lr=1e-3", "pg19"],
    ],
)
def test_all_spellings_mean_the_same(arguments: list[str]):
    assert split_settings(arguments) == (["pg19"], {"train.lr": 1e-3})


def test_values_keep_what_follows_the_first_equals_sign():
    assert split_settings(["--generate.prompt=a=b", "data.path=./x=y"])[1] == {
        "generate.prompt": "a=b",
        "data.path": "./x=y",
    }


def test_a_negative_number_is_a_value():
    assert split_settings(["--train.seed", "-5"])[1] == {"train.seed": -5}


def test_a_path_with_an_equals_sign_is_a_word():
    assert split_settings(["./lr=3/recipe.toml"]) == (["./lr=3/recipe.toml"], {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "5"], "No such option: --steps. Did you mean --train.steps?"),
        (["--batch-size=5"], "Did you mean --train.batch_size or --eval.batch_size?"),
        (["--frobnicate"], "Settings are written --section.key"),
        (["--train.lr"], "Setting '--train.lr' needs a value."),
        (["--train.lr", "--train.steps", "5"], "Setting '--train.lr' needs a value."),
    ],
)
def test_misuse_is_explained(arguments: list[str], message: str):
    with pytest.raises(click.UsageError) as caught:
        split_settings(arguments)
    assert message in caught.value.message
