"""The training loop: from a recipe to a run folder with checkpoints, metrics and a sample."""

import math
from pathlib import Path
from statistics import fmean

from rich.console import Console

from seqmem.config import Recipe
from seqmem.data.audio_tokens import AudioCorpus
from seqmem.errors import SeqmemError
from seqmem.ops import bind
from seqmem.train.checkpoint import newest_checkpoint, save_checkpoint, vocabulary_folder
from seqmem.train.device import default_device, peak_memory, reset_peak_memory
from seqmem.train.interrupt import Interrupt
from seqmem.train.metrics import MetricsLog
from seqmem.train.objective import objective_of
from seqmem.train.precision import compute_dtype, computing
from seqmem.train.progress import BITS_PER, StatusLine
from seqmem.train.setup import enter_stage, prepare_data, start_session, starting_point
from seqmem.train.stages import Stage, stage_at, stages_of, tokens_read


def train(recipe: Recipe, run_dir: Path, resume: bool = True, console: Console | None = None) -> Path:
    """Train until the recipe's last step, or until SIGINT or SIGTERM, and return ``run_dir``.

    Args:
        recipe: everything that determines the run.
        run_dir: where the run's files go.
        resume: go on from the newest checkpoint in ``run_dir`` if there is one; otherwise refuse such a folder.
        console: where to report; standard output by default.

    Raises:
        SeqmemError: unusable data or settings, a run of another recipe in ``run_dir``, or a loss that is not finite.
    """
    trainer = Trainer(recipe, run_dir, resume, console or Console())
    trainer.introduce()
    if trainer.loop():
        trainer.conclude()
    return run_dir


class Trainer:
    """One run in one process; see :func:`train`, which says what the arguments mean."""

    def __init__(self, recipe: Recipe, run_dir: Path, resume: bool, console: Console):
        checkpoint = starting_point(recipe, run_dir, resume)
        self._objective = objective_of(recipe)
        self._console = console
        self._ops = bind(recipe.backend)
        self._computed_by = self._ops.describe(default_device().type, compute_dtype(recipe.train))
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "config.json").write_text(recipe.model_dump_json(indent=2) + "\n")
        if not checkpoint:
            self._say(f"Preparing {'sounds' if recipe.codec else 'text and tokenizer'} ...")
        self._vocabulary, self._corpus = prepare_data(recipe, run_dir, checkpoint)
        self._session = start_session(recipe, self._vocabulary, self._corpus, self._ops, checkpoint)
        reset_peak_memory(self._session.device)
        self._stages = stages_of(recipe, self._vocabulary.vocab_size)
        self._stage = stage_at(self._stages, max(1, self._session.counters.step))
        self._units = self._objective.units(self._corpus, self._vocabulary)
        self._recipe = recipe
        self._run_dir = run_dir

    def introduce(self) -> None:
        """Say what is trained on what, and by whom."""
        session, vocabulary = self._session, self._vocabulary
        num_threads = session.counters.num_threads
        threads = f", {num_threads} thread{'s' * (num_threads > 1)}" if session.device.type == "cpu" else ""
        lengths = ", ".join(f"{len(tokens):,} {split}" for split, tokens in self._corpus.splits.items())
        rows = {
            "corpus": self._corpus.note,
            "tokens": lengths,
            vocabulary_folder(self._recipe): vocabulary.describe(),
            "model": f"{self._recipe.model_name}, {session.model.num_parameters:,} parameters",
            "backend": self._computed_by,
            "device": f"{session.device}{threads}",
            "precision": self._recipe.train.precision,
            "run": f"{self._run_dir}, from step {session.counters.step} to {self._recipe.train.steps}",
        }
        rows |= self._objective.about(session.batches)
        if len(self._stages) > 1:
            rows["stages"] = f"{len(self._stages)}; {self._stage}"
        if isinstance(self._corpus, AudioCorpus):
            rows["to beat"] = f"{self._corpus.baselines('validation') or 'not counted, too many levels'} (validation)"
        self._say("\n".join(f"{name:<10} {value}" for name, value in rows.items()))

    def loop(self) -> bool:
        """Take steps until the last one or a signal; return whether it was the last one."""
        config, session = self._recipe.train, self._session
        step = session.counters.step
        log = MetricsLog(self._run_dir, step, config.tensorboard)
        status = StatusLine(self._console, step, config.steps, lambda step: self._tokens_between(step, config.steps))
        with log, status, Interrupt(self._console) as interrupt:
            stopping = step >= config.steps
            while not stopping:
                self._enter(stage_at(self._stages, step + 1))
                norms = self._step()
                step = session.counters.step
                ends_stage = step == self._stage.last
                stopping = step == config.steps or interrupt.requested
                status.advance()
                if ends_stage or step % config.log_every == 0:
                    record = self._measure(norms)
                    log.write(record)
                    status.show(record)
                if ends_stage or step % config.eval_every == 0:
                    log.write(self._validate())
                if stopping or ends_stage or step % config.checkpoint_every == 0:
                    save_checkpoint(self._run_dir, self._recipe, self._vocabulary, session)
        if step < config.steps:
            self._say(f"Stopped at step {step}, checkpoint saved. Go on: seqmem train --resume {self._run_dir}")
        return step >= config.steps

    def conclude(self) -> None:
        """Leave in the run's folder what it is to be judged by and say what can be done with the run."""
        model = self._session.model.eval()
        self._say(self._objective.conclude(model, self._vocabulary, self._recipe, self._run_dir))

    def _enter(self, stage: Stage) -> None:
        if stage is not self._stage:
            enter_stage(self._session, stage, self._vocabulary, self._corpus)
            self._stage = stage
            self._say(f"stage {self._stages.index(stage) + 1} of {len(self._stages)}: {stage}")

    def _tokens_between(self, step: int, later: int) -> int:
        return tokens_read(self._stages, later) - tokens_read(self._stages, step)

    def _step(self) -> dict[str, float]:
        try:
            return self._session.step()
        except FloatingPointError as error:
            good = newest_checkpoint(self._run_dir) or "none"
            raise SeqmemError(f"{error}; last good checkpoint: {good}; lower train.lr or train.grad_clip") from None

    def _measure(self, norms: dict[str, float]) -> dict[str, float]:
        """The record of the steps since the last one."""
        session = self._session
        losses, seconds = session.take_recent()
        loss = fmean(losses["loss"])
        step = session.counters.step
        num_tokens = self._tokens_between(step - len(losses["loss"]), step)
        return {
            "step": step,
            "loss": loss,
            **{f"{BITS_PER}{unit}": loss / math.log(2) * number for unit, number in self._units.items()},
            **norms,
            "lr": session.optimizer.param_groups[0]["lr"],
            "tokens_per_second": num_tokens / seconds,
            "memory_mb": peak_memory(session.device),
            "seconds": session.counters.seconds,
            **{name: fmean(values) for name, values in losses.items() if name != "loss"},
        }

    def _validate(self) -> dict[str, float | None]:
        """Measure the model on the validation split; the record has its measures with a prefix."""
        session, recipe = self._session, self._recipe
        with computing(recipe.train, session.device):
            evaluation = self._objective.validate(session.model, self._corpus, self._vocabulary, recipe.eval)
        self._say(f"step {session.counters.step}  validation  {evaluation.summary()}")
        measures = {f"validation_{name}": value for name, value in evaluation.measures().items()}
        return {"step": session.counters.step, **measures, "seconds": session.counters.seconds}

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
