"""TRL's GRPOTrainer from the same start, with the same reward and budget as a comparison's runs.

Continues the folder that `llamao1 compare` wrote: takes the start of a seed, trains for the given
seconds, and evaluates with llamao1's own evaluation. TRL's loop generates with transformers, and
stops a solution at its conclusion, so that no token behind it is generated or trained.

usage: python scripts/compare_trl.py --compare runs/compare-quickstart --seed 0 --seconds 120
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import GRPOConfig, GRPOTrainer

from llamao1_cli.config.file import load_config
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.language.answers import stated_answer
from llamao1_cli.language.marked import Meta, Rating
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import save_model
from llamao1_cli.run.assembly import Parts, assemble

GENERATIONS = 8  # solutions a problem
ITERATIONS = 1000  # problems for so many iterations; the time ends the run


class MarkedProcessor(LogitsProcessor):
    """The marked language while transformers generates: headers and rating fields are forced as the
    model has always been given them, and markers inside thoughts are masked."""

    def __init__(
        self, language: MarkedLanguage, rows: int, vocabulary: int, max_tokens: int
    ) -> None:
        self._language, self._max_tokens = language, max_tokens
        self._allowed = language.grammar(vocabulary)
        self._forced = [language.opening(1) for _ in range(rows)]
        self._depths, self._sampled = [1] * rows, [0] * rows
        self.masks: list[list[int]] = [[] for _ in range(rows)]  # 1 where a token was sampled

    def __call__(self, input_ids: Any, scores: Any) -> torch.Tensor:
        """Scores `[B, V]` with what cannot come next at minus infinity."""
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        for row, last in enumerate(input_ids[:, -1].tolist()):
            if self.masks[row] and self.masks[row][-1]:
                self._take(row, last)
            forced = self._forced[row][:1]
            if forced:
                allowed[row, self._forced[row].pop(0)] = True
            else:
                allowed[row] = self._allowed[self._language.role(self._sampled[row], False, 1)]
            self.masks[row].append(int(not forced))
        return scores.masked_fill(~allowed, -torch.inf)

    def _take(self, row: int, token: int) -> None:
        """A token was sampled; after a thought's end its rating and the next header must follow."""
        self._sampled[row] += 1
        ended = token == self._language.thought_end
        if ended or self._sampled[row] == self._max_tokens:
            self._depths[row] += 1
            self._sampled[row] = 0
            self._forced[row] = [
                *([] if ended else [self._language.thought_end]),
                *self._language.closing(Rating.UNKNOWN),
                *self._language.opening(self._depths[row]),
            ]


class AtConclusion(StoppingCriteria):
    """Ends each solution with its conclusion."""

    def __init__(self, language: MarkedLanguage, start: int) -> None:
        self._language, self._start = language, start

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Which rows are done `[B]`."""
        rows = input_ids[:, self._start :].tolist()
        return torch.tensor([conclusion_end(row, self._language) is not None for row in rows])


def conclusion_end(row: list[int], language: MarkedLanguage) -> int | None:
    """Where a solution's conclusion ends; None if there is none."""
    conclusion, end = language.meta(Meta.CONCLUSION), language.thought_end
    start = row.index(conclusion) if conclusion in row else len(row)
    return row.index(end, start) + 1 if end in row[start:] else None


class Budget(TrainerCallback):
    """Ends the training after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.spent = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The clock starts."""
        self._start = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The clock is read."""
        self.spent = time.perf_counter() - self._start
        control.should_training_stop = self.spent >= self._seconds


def rollout(parts: Parts, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
    """One solution a prompt, by transformers' `generate` on left-padded prompts."""
    language, config = parts.language, parts.config
    paths = [language.root(prompt) for prompt in prompts]
    width, pad = max(map(len, paths)), 0
    ids = torch.tensor([[pad] * (width - len(path)) + path for path in paths])
    mask = torch.tensor([[0] * (width - len(path)) + [1] * len(path) for path in paths])
    thought = config.search.max_thought_tokens + 12
    settings = GenerationConfig(
        do_sample=True,
        temperature=config.search.temperature,
        top_k=0,
        max_new_tokens=min(config.search.max_depth * thought, config.model.max_length - width),
        pad_token_id=pad,
        eos_token_id=None,
    )
    model = trainer.accelerator.unwrap_model(trainer.model)
    vocabulary = model.get_output_embeddings().out_features
    processor = MarkedProcessor(
        language, len(prompts), vocabulary, config.search.max_thought_tokens
    )
    with torch.no_grad():
        made = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([processor]),
            stopping_criteria=StoppingCriteriaList([AtConclusion(language, width)]),
        )[:, width:].tolist()
    rows = [row[: conclusion_end(row, language)] for row in made]
    masks = [mask[: len(row)] for row, mask in zip(rows, processor.masks, strict=True)]
    return {"prompt_ids": paths, "completion_ids": rows, "env_mask": masks, "logprobs": None}


def solved(parts: Parts, rows: list[list[int]], answers: list[str]) -> list[float]:
    """1 for a solution whose conclusion states the right answer, else 0."""
    language, conclusion = parts.language, parts.language.meta(Meta.CONCLUSION)
    stated: list[str | None] = []
    for row in rows:
        end = conclusion_end(row, language)
        words = row[row.index(conclusion) : end] if end else []
        stated.append(stated_answer(language.decode(words)[1]) if words else None)
    asked = [(s, a) for s, a in zip(stated, answers, strict=True) if s is not None]
    verdicts = iter(parts.grader.grade(asked))
    return [float(s is not None and next(verdicts)) for s in stated]


def train(parts: Parts, seconds: float, folder: Path) -> tuple[float, int]:
    """Train by GRPO for so many seconds; gives the seconds and the optimizer steps it took."""
    learn, seed = parts.config.learn, parts.config.run.seed
    problems = [
        problem
        for number in range(1, ITERATIONS + 1)
        for problem in parts.task.train_problems(seed, number, learn.problems)
    ]
    completions = learn.problems * GENERATIONS
    steps = 4  # optimizer steps a round of generation, each on a quarter of the completions
    settings = GRPOConfig(
        output_dir=str(folder),
        seed=seed,
        use_cpu=parts.config.model.device == "cpu",
        num_generations=GENERATIONS,
        per_device_train_batch_size=completions // steps,
        steps_per_generation=steps,
        learning_rate=learn.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=learn.ramp_iterations * steps,
        adam_beta1=learn.betas[0],
        adam_beta2=learn.betas[1],
        max_grad_norm=learn.max_grad_norm,
        temperature=parts.config.search.temperature,
        epsilon=learn.clip,
        beta=0.0,
        shuffle_dataset=False,
        save_strategy="no",
        report_to="none",
        logging_steps=10,
        disable_tqdm=True,
        gradient_checkpointing=False,
        bf16=False,
    )

    def reward(completion_ids: list[list[int]], answer: list[str], **_: Any) -> list[float]:
        return solved(parts, completion_ids, answer)

    budget = Budget(seconds)
    trainer = GRPOTrainer(
        model=parts.language_model.model,
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_list([{"prompt": p.text, "answer": p.answer} for p in problems]),
        processing_class=parts.language_model.tokenizer,
        callbacks=[budget],
        rollout_func=lambda prompts, trainer: rollout(parts, prompts, trainer),
    )
    trainer.train()
    return budget.spent, trainer.state.global_step


def main() -> None:
    """Train and evaluate one seed, and write the result beside the comparison's runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", type=Path, required=True, help="folder of `llamao1 compare`")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of training")
    options = parser.parse_args()
    start = RunFolder(options.compare / f"start-seed{options.seed}")
    config = load_config(start.config, ["eval.strategies=[greedy]"])
    folder = options.compare / f"trl-seed{options.seed}"
    parts = assemble(config, start.latest() / "model")
    with parts.grader:
        seconds, steps = train(parts, options.seconds, folder)
        parts.engine.refresh()
        result = parts.evaluate(lambda name, trees: None)
    save_model(parts.language_model, folder / "model")
    result |= {"seconds": seconds, "steps": steps}
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    greedy = result["strategies"]["greedy"]
    low, high = greedy["ci95"]
    print(
        f"TRL GRPO, seed {options.seed}: {steps} steps in {seconds:.0f} s, greedy accuracy "
        f"{greedy['accuracy']:.3f} ({low:.3f} to {high:.3f})"
    )


if __name__ == "__main__":
    main()
