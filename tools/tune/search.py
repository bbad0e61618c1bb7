"""The search: successive halving among the neighbours of the best tiles so far."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

FINAL_ROUNDS = 8

Tiles = TypeVar("Tiles")
TimeInTurns = Callable[[Sequence[Tiles], int], Mapping[Tiles, float]]
"""Median seconds of each of some tiles over a number of rounds in which they take turns."""


def search(
    start: Tiles, kinds: Iterable[Callable[[Tiles], Sequence[Tiles]]], time_in_turns: TimeInTurns[Tiles]
) -> tuple[Tiles, float]:
    """The fastest tiles and how much faster they are than ``start``.

    Args:
        start: what to improve on.
        kinds: of neighbours of some tiles, themselves among them; the best of one kind are improved by the next.
        time_in_turns: the clock.
    """
    best = start
    for neighbours in kinds:
        best = halve(neighbours(best), time_in_turns)
    if best == start:
        return start, 1.0
    seconds = time_in_turns([start, best], 2 * FINAL_ROUNDS)
    return (best, seconds[start] / seconds[best]) if seconds[best] < seconds[start] else (start, 1.0)


def halve(candidates: Sequence[Tiles], time_in_turns: TimeInTurns[Tiles]) -> Tiles:
    """Successive halving: the slower half leaves, the others are measured in twice as many rounds."""
    rounds = 1
    while len(candidates) > 1:
        seconds = time_in_turns(candidates, rounds)
        candidates = sorted(candidates, key=lambda tiles: seconds[tiles])[: (len(candidates) + 1) // 2]
        rounds = min(2 * rounds, FINAL_ROUNDS)
    return candidates[0]
