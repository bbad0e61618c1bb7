"""How reports speak to the console."""

from rich.console import Console


def say(console: Console, text: str) -> None:
    """Print ``text`` as it is: names of entries and paths may hold what rich would take for markup."""
    console.print(text, emoji=False, highlight=False, markup=False, soft_wrap=True)
