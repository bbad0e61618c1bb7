"""The README opens with the two commands that take a fresh machine all the way; CI runs them from there."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_readme_opens_with_the_commands_that_ci_runs():
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks[0].strip() == 'pip install ".[all]" && seqmem train recipes/pg19'
    assert blocks[1].strip() == 'pip install ".[all,test]" && python -m pytest'
