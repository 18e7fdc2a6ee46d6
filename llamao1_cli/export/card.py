"""The model card of an exported folder: what it is, how it was trained, results, how to load it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from llamao1_cli.config import ArithmeticTask, Config, DataSource, DataTask, PythonTask
from llamao1_cli.config.file import dump_config
from llamao1_cli.export import chat_code
from llamao1_cli.export.loading_code import loading_code
from llamao1_cli.report.tables import difference

MARK = "Exported by llamao1"  # tells an exported folder from another one

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

_TEMPLATE = """\
---
{front}---

# {title}

{mark}: {what}

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

{how}

```python
{code}```

With llamao1, `model.path` names this folder for search, votes and further training; the value head
that judges thoughts there is not part of it, and learns anew.

## Configuration

```yaml
{config}```
"""

_WHAT = """\
a language model that solves a problem thought by thought in a marked
language, and rates each thought. It was trained by self-play reinforcement learning. Adapters are
merged; the tokenizer holds all markers. A problem must hold none of them."""

_HOW = """\
`generate` writes one thought and stops at its end. A rating is the probability of
`<positive_rating>` against `<negative_rating>` behind `<start_of_rating>`. This solves a problem
greedily, without search:"""


def model_card(
    config: Config,
    title: str,
    checkpoint: str,
    evaluations: Mapping[int, Mapping[str, Any]],
    *,
    chats: bool = False,
) -> str:
    """Returns the card as Markdown. `evaluations` are those of the run up to the checkpoint, by
    their iteration; the first and the last are shown. `chats` says that the model is asked as any
    chat model is."""
    return _TEMPLATE.format(
        front=yaml.safe_dump(_front(config), sort_keys=False, allow_unicode=True),
        title=_plain(title),
        mark=MARK,
        what=chat_code.WHAT if chats else _WHAT,
        how=chat_code.HOW if chats else _HOW,
        base=_base(config),
        task=_plain(_task(config)),
        warmup=_plain(_warmup(config)),
        play=_plain(_play(config)),
        checkpoint=_plain(checkpoint),
        results=_results(evaluations),
        code=chat_code.chat_code(config) if chats else loading_code(config),
        config=dump_config(config),
    )


def _front(config: Config) -> dict[str, Any]:
    """Returns the front matter of a card, which the hub reads."""
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["llamao1", "reasoning", "reinforcement-learning"],
    }
    path = config.model.path or ""
    if _HUB_NAME.fullmatch(path) and not path.startswith("."):
        front["base_model"] = path
    if isinstance(config.task, DataTask) and config.task.train.hub:
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
    if isinstance(task, PythonTask):
        return f"`{_plain(task.path)}`, a task in Python"
    if isinstance(task, DataTask):
        return f"{_source(task.train)}; held out: {_source(task.test)}"
    return f"problems of reasoning-gym: {', '.join(each.name for each in task.dataset)}"


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
    """Returns a table of accuracies with their intervals, a column an evaluation."""
    if not evaluations:
        return "The run was not evaluated before this checkpoint."
    numbers = sorted({min(evaluations), max(evaluations)})
    last = evaluations[numbers[-1]]
    lines = [
        f"Accuracy on {last['n']} held-out problems, with 95% intervals:",
        "",
        f"| strategy | {' | '.join(map(_when, numbers))} |",
        "|---" * (len(numbers) + 1) + "|",
    ]
    for name in last["strategies"]:
        cells = [_accuracy(evaluations[number]["strategies"].get(name)) for number in numbers]
        lines.append(f"| {_plain(name)} | {' | '.join(cells)} |")
    for name, row in last.get("differences", {}).items():
        lines += ["", f"{_plain(name)}, paired: {difference(row)}."]
    return "\n".join(lines)


def _when(iteration: int) -> str:
    return f"after iteration {iteration}" if iteration else "before self-play"


def _accuracy(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    low, high = row["ci95"]
    return f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})"


def _plain(text: str) -> str:
    """Returns the text in one line and without markup, so that it stays in its table's cell."""
    return re.sub(r"[|`<>\[\]*\\]", "", " ".join(text.split()))
