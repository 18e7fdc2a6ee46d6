"""`llamao1 bench`: what rollouts and updates cost here, against the plain ways to do them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llamao1_cli.cli.options import AnyConfig, Json, Set
from llamao1_cli.errors import UserError

if TYPE_CHECKING:
    from llamao1_cli.config import Config as RunConfig

bench = typer.Typer(
    no_args_is_help=True, help="Measure rollouts and updates against the plain ways to do them."
)

Model = Annotated[str | None, typer.Option(help="Model folder or hub name, without a YAML file.")]
Trees = Annotated[int, typer.Option(min=1, help="Trees that grow at once.")]
Simulations = Annotated[int, typer.Option(min=1, help="Expansions a tree.")]
Candidates = Annotated[int, typer.Option(min=1, help="Thoughts an expansion.")]
MaxChildren = Annotated[int, typer.Option(min=1, help="Most children of a node.")]
Prompt = Annotated[str, typer.Option(help="Fewest and most tokens of a prompt.")]
Thought = Annotated[str, typer.Option(help="Fewest and most tokens of a thought.")]
Repeats = Annotated[int, typer.Option(min=1, help="Interleaved repetitions.")]


@bench.command(
    epilog="Example: llamao1 bench rollout --config configs/quickstart.yaml --json rollout.json"
)
def rollout(
    config: AnyConfig = None,
    model: Model = None,
    set_: Set = None,
    json: Json = None,
    trees: Trees = 16,
    simulations: Simulations = 16,
    candidates: Candidates = 2,
    max_children: MaxChildren = 2,
    prompt_tokens: Prompt = "60-100",
    thought_tokens: Thought = "32-64",
    repeats: Repeats = 3,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="reference, generate, or tree or vllm with -float32 or -bfloat16; may be "
            "repeated. Without it all that are installed."
        ),
    ] = None,
    baseline_trees: Annotated[int, typer.Option(min=1, help="Trees that `reference` grows.")] = 1,
) -> None:
    """Thoughts a second of every way to grow the same trees, with memory and roofline share."""
    resolved = _resolve(config, model, set_)
    shape = _shape(trees, simulations, candidates, max_children, prompt_tokens, thought_tokens)
    from llamao1_cli.bench.commands import run_rollout

    run_rollout(
        resolved,
        shape,
        variants=variant or [],
        baseline_trees=min(baseline_trees, trees),
        repeats=repeats,
        json_file=json,
    )


@bench.command(
    epilog="Example: llamao1 bench update --config configs/quickstart.yaml --json update.json"
)
def update(
    config: AnyConfig = None,
    model: Model = None,
    set_: Set = None,
    json: Json = None,
    trees: Trees = 8,
    simulations: Simulations = 4,
    candidates: Candidates = 2,
    max_children: MaxChildren = 2,
    prompt_tokens: Prompt = "60-100",
    thought_tokens: Thought = "16-32",
    repeats: Repeats = 3,
    stored: Annotated[
        Path | None,
        typer.Option(help="Take the first trees of this file of a run's folder `trees` instead."),
    ] = None,
) -> None:
    """Seconds and memory of an optimizer step on packed trees, against their padded paths.

    The trees have the shape of the configured search: chains and forks, or `simulations` expansions
    of one thought.
    """
    resolved = _resolve(config, model, set_)
    shape = _shape(trees, simulations, candidates, max_children, prompt_tokens, thought_tokens)
    from llamao1_cli.bench.commands import run_update

    run_update(resolved, shape, trees_file=stored, repeats=repeats, json_file=json)


def _shape(
    trees: int, simulations: int, candidates: int, max_children: int, prompt: str, thought: str
) -> dict[str, int | tuple[int, int]]:
    """The workload that the options ask for."""
    return {
        "trees": trees,
        "simulations": simulations,
        "candidates": candidates,
        "max_children": max_children,
        "prompt_tokens": _range("prompt_tokens", prompt),
        "thought_tokens": _range("thought_tokens", thought),
    }


def _resolve(config: Path | None, model: str | None, overrides: list[str] | None) -> "RunConfig":
    from llamao1_cli.config.file import build_config, load_config

    if (config is None) == (model is None):
        raise UserError("give either --config FILE or --model FOLDER")
    if config is not None:
        return load_config(config, overrides)
    return build_config({"model": {"path": model}}, "--model", overrides)


def _range(name: str, text: str) -> tuple[int, int]:
    """Two numbers joined by a dash."""
    option = name.replace("_", "-")
    parts = text.split("-")
    if not all(part.isdigit() for part in parts) or len(parts) != 2:
        raise UserError(f"--{option} {text}: give the fewest and the most, such as 60-100")
    low, high = map(int, parts)
    if not 1 <= low <= high:
        raise UserError(
            f"--{option} {text}: the first number must be 1 or more, and not the larger"
        )
    return low, high
