"""`llamao1 data`: what a run will see of its data."""

from llamao1_cli.cli.options import ConfigFile, Json, Set


def data(config: ConfigFile, set_: Set = None, json: Json = None) -> None:
    """Show what a run will see of its data, before it costs anything.

    Rows read and dropped, duplicates, three problems with their answers as they were read, lengths
    against the context and the search, and what the grader and the tokenizer make of it.
    """
    from llamao1_cli.config.file import load_config

    resolved = load_config(config, set_)
    from llamao1_cli.preview import commands

    commands.data(resolved, json)
