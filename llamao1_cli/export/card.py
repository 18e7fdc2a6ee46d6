"""The model card of an exported folder: what it is, how it was trained, results, how to load it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from llamao1_cli.config import ArithmeticTask, Config, DataSource
from llamao1_cli.config.file import dump_config
from llamao1_cli.report.tables import difference

MARK = "Exported by llamao1"  # tells an exported folder from another one

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

_TEMPLATE = """\
---
{front}---

# {title}

{mark}: a language model that solves a problem thought by thought in a marked
language, and rates each thought. It was trained by self-play reinforcement learning. Adapters are
merged; the tokenizer holds all markers. A problem must hold none of them.

| | |
|---|---|
| base model | {base} |
| problems | {task} |
| warm-up | {warmup} |
| self-play | {play} |
| checkpoint | {checkpoint} |

## Results

{results}

## How to load it

`generate` writes one thought and stops at its end. A rating is the probability of
`<positive_rating>` against `<negative_rating>` behind `<start_of_rating>`. This solves a problem
greedily, without search:

```python
{code}```

With llamao1, `model.path` names this folder for search, votes and further training; the value head
that judges thoughts there is not part of it, and learns anew.

## Configuration

```yaml
{config}```
"""

_CODE = """\
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, problem = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).eval()


def read(text):
    return tokenizer(text)["input_ids"]


def header(depth):
    names = [f"<id_{n}>" for n in (depth - 1, depth)]
    known = all(name in tokenizer.get_vocab() for name in names)
    father, local = names if known else (depth - 1, depth)
    return read(
        f"<start_of_father_id>{father}<end_of_father_id>"
        f"<start_of_local_id>{local}<end_of_local_id><start_of_thought>"
    )


@torch.no_grad()
def rating(ids):
    logits = model(torch.tensor([ids + read("<start_of_rating>")])).logits[0, -1]
    two = tokenizer.convert_tokens_to_ids(["<positive_rating>", "<negative_rating>"])
    return logits[two].softmax(-1)[0].item()


ids = header(0) + read(f"<problem>{problem}<end_of_thought>")
shown = "<unknown_rating>"
for depth in range(1, MAX_DEPTH + 1):
    ids += read(f"<start_of_rating>{shown}<end_of_rating>") + header(depth)
    prompt = torch.tensor([ids])
    mask = torch.ones_like(prompt)
    written = model.generate(prompt, attention_mask=mask, do_sample=False)[0].tolist()
    thought = tokenizer.decode(written[len(ids) :]).removesuffix("<end_of_thought>")
    ended = written[-1] == tokenizer.eos_token_id
    ids = written if ended else [*written, tokenizer.eos_token_id]
    value = rating(ids)
    SHOWN
    print(f"{value:.2f} {thought}")
    if "\\\\boxed" in thought or "####" in thought:
        break
"""


def model_card(
    config: Config, title: str, checkpoint: str, evaluations: Mapping[int, Mapping[str, Any]]
) -> str:
    """The card as Markdown. `evaluations` are those of the run up to the checkpoint, by their
    iteration; the first and the last are shown."""
    return _TEMPLATE.format(
        front=yaml.safe_dump(_front(config), sort_keys=False, allow_unicode=True),
        title=_plain(title),
        mark=MARK,
        base=_base(config),
        task=_plain(_task(config)),
        warmup=_plain(_warmup(config)),
        play=_plain(_play(config)),
        checkpoint=_plain(checkpoint),
        results=_results(evaluations),
        code=loading_code(config),
        config=dump_config(config),
    )


def loading_code(config: Config) -> str:
    """A program that solves a problem with transformers alone; arguments: folder and problem."""
    judged = 'shown = "<positive_rating>" if value >= 0.5 else "<negative_rating>"'
    code = _CODE.replace("MAX_DEPTH", str(config.search.max_depth))
    if config.search.show_ratings:
        return code.replace("SHOWN", judged)
    return code.replace("    SHOWN\n", "")


def _front(config: Config) -> dict[str, Any]:
    """What the hub reads of a card."""
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["llamao1", "reasoning", "reinforcement-learning"],
    }
    path = config.model.path or ""
    if _HUB_NAME.fullmatch(path) and not path.startswith("."):
        front["base_model"] = path
    if not isinstance(config.task, ArithmeticTask) and config.task.train.hub:
        front["datasets"] = [config.task.train.hub]
    return front


def _base(config: Config) -> str:
    model = config.model
    if model.path is None:
        build = model.build
        made = f"Llama built from scratch, {build.layers} layers of width {build.hidden_size}"
    else:
        made = f"`{_plain(model.path)}`"
        made += f", `{_plain(model.gguf_file)}`" if model.gguf_file else ""
    if model.lora is None:
        return f"{made}; every weight trained"
    return f"{made}; LoRA of rank {model.lora.rank}, alpha {model.lora.alpha:g}"


def _task(config: Config) -> str:
    task = config.task
    if isinstance(task, ArithmeticTask):
        return (
            f"arithmetic word problems of {task.min_operations} to {task.max_operations} operations"
        )
    return f"{_source(task.train)}; held out: {_source(task.test)}"


def _source(source: DataSource) -> str:
    return source.path or ", ".join(
        part for part in (source.hub, source.name, source.split) if part
    )


def _warmup(config: Config) -> str:
    if config.warmup is None:
        return "none"
    if config.warmup.data is None:
        return f"{config.warmup.examples} demonstrations of the task"
    return _source(config.warmup.data)


def _play(config: Config) -> str:
    learn, search = config.learn, config.search
    credit = f", credit {learn.credit}" if learn.algorithm == "rlsp" else ""
    return (
        f"{learn.algorithm}{credit}; search {search.algorithm}, {learn.problems} problems an "
        f"iteration, learning rate {learn.learning_rate:g}, seed {config.run.seed}"
    )


def _results(evaluations: Mapping[int, Mapping[str, Any]]) -> str:
    """Accuracies with their intervals, a column an evaluation."""
    if not evaluations:
        return "The run was not evaluated before this checkpoint."
    numbers = sorted({min(evaluations), max(evaluations)})
    last = evaluations[numbers[-1]]
    lines = [
        f"Accuracy on {last['n']} held-out problems, with 95% intervals:",
        "",
        f"| strategy | {' | '.join(map(_moment, numbers))} |",
        "|---" * (len(numbers) + 1) + "|",
    ]
    for name in last["strategies"]:
        cells = [_accuracy(evaluations[number]["strategies"].get(name)) for number in numbers]
        lines.append(f"| {_plain(name)} | {' | '.join(cells)} |")
    for name, row in last.get("differences", {}).items():
        lines += ["", f"{_plain(name)}, paired: {difference(row)}."]
    return "\n".join(lines)


def _moment(iteration: int) -> str:
    return f"after iteration {iteration}" if iteration else "before self-play"


def _accuracy(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    low, high = row["ci95"]
    return f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})"


def _plain(text: str) -> str:
    """Text that stays in its line and its cell of a table, and is no markup."""
    return re.sub(r"[|`<>\[\]*\\]", "", " ".join(text.split()))
