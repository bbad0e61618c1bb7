"""Training what a comparison lacks: each run in a process of its own, as many at once as the cores hold."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from seqmem.config import Recipe
from seqmem.errors import SeqmemError
from seqmem.recipe import load_recipe
from seqmem.report.runs import settings_of
from seqmem.report.say import say
from seqmem.train.checkpoint import newest_checkpoint, step_of
from seqmem.train.device import default_device
from seqmem.train.interrupt import Interrupt

LOG_NAME = "train.log"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """A run to be trained to its end.

    Args:
        label: what to call it.
        folder: the run folder, which also takes the process's output.
        source: the recipe's name or path.
        settings: changes to the recipe, by dotted key.
        recipe: what they give.
    """

    label: str
    folder: Path
    source: str
    settings: dict[str, Any]
    recipe: Recipe

    @property
    def log(self) -> Path:
        return self.folder / LOG_NAME

    def is_finished(self) -> bool:
        """Whether the run has all its steps.

        Raises:
            SeqmemError: the folder holds a run that was trained otherwise.
        """
        checkpoint = newest_checkpoint(self.folder)
        if checkpoint is None:
            return False
        before, now = settings_of(load_recipe(str(self.folder / "config.json"))), settings_of(self.recipe)
        if changed := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
            raise SeqmemError(
                f"run '{self.folder}' was trained with another {' and '.join(changed)}; "
                f"remove it or compare in another folder (--out)"
            )
        return step_of(checkpoint) >= self.recipe.train.steps

    def start(self) -> subprocess.Popen:
        """Train in a new process, which goes on from the newest checkpoint.

        Raises:
            SeqmemError: another process is training this run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "seqmem", "train", self.source, "--run", str(self.folder)]
        command += [f"{key}={_toml(value)}" for key, value in self.settings.items()]
        with self.log.open("a") as log:
            try:
                # The process inherits the lock and keeps it to its end, even if this one is killed.
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SeqmemError(f"run '{self.folder}' is being trained by another process; wait or stop it") from None
            # In a session of its own it does not hear Ctrl-C, which would be its second signal after ours.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )


def train_all(jobs: Sequence[Job], console: Console) -> bool:
    """Train the unfinished jobs and return True, or False if SIGINT or SIGTERM came first.

    Then, as after a failure, the runs in training save a checkpoint and end before this returns.

    Raises:
        SeqmemError: a run failed, is in training elsewhere, or was begun with other settings.
    """
    waiting = deque(job for job in jobs if not job.is_finished())
    num_done = len(jobs) - len(waiting)
    with Interrupt(console) as interrupt, _processes() as running:
        while (waiting or running) and not interrupt.requested:
            while waiting and len(running) < num_at_once(waiting[0].recipe):
                job = waiting.popleft()
                running.append((job, job.start()))
            time.sleep(POLL_SECONDS)
            ended = [] if interrupt.requested else [pair for pair in running if pair[1].poll() is not None]
            for job, process in ended:
                running.remove((job, process))
                _check_end(job, process.returncode)
                num_done += 1
                say(console, f"{num_done}/{len(jobs)}  {job.label}: {job.folder}")
        return not waiting and not running


def num_at_once(recipe: Recipe) -> int:
    """How many runs of ``recipe`` the cores hold; a GPU is given to one at a time."""
    if default_device().type == "cuda":
        return 1
    num_cores = os.cpu_count() or 1
    return max(1, num_cores // (recipe.train.num_threads or num_cores))


def _toml(value: Any) -> str:
    """``value`` as it would stand in a recipe, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # What JSON writes of a number, a string or a truth value is TOML too.
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _processes() -> Iterator[list[tuple[Job, subprocess.Popen]]]:
    """A list of running processes; those that are left in it at the end are told to save and end."""
    running: list[tuple[Job, subprocess.Popen]] = []
    try:
        yield running
    finally:
        for _, process in running:
            process.send_signal(signal.SIGINT)
        for _, process in running:
            process.wait()


def _check_end(job: Job, exit_code: int) -> None:
    if exit_code or not job.is_finished():
        lines = job.log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")
        raise SeqmemError(f"training of {job.label} ended with exit code {exit_code}: {last}; see {job.log}")
