"""A preview as tables for the terminal, and in three lines."""

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from llamao1_cli.config import Config
from llamao1_cli.preview.demonstrations import DemonstrationFacts
from llamao1_cli.preview.preview import Preview
from llamao1_cli.preview.spread import Spread, percent
from llamao1_cli.report.tree_text import printable


def summary(preview: Preview, config: Config) -> list[str]:
    """Returns the three lines at the start of a run: rows, prompts, demonstrations."""
    train, test, shown = preview.train, preview.test, preview.demonstrations
    wrong = train.not_right_against_themselves + test.not_right_against_themselves
    rows = "made on the spot" if preview.generated else f"{train.rows:,} rows"
    demonstrations = "demonstrations: none are used"
    if shown is not None:
        demonstrations = (
            f"demonstrations: {shown.looked_at:,} looked at, {percent(shown.dropped_share)} "
            f"dropped ({percent(shown.whole_dropped_share)} of whole solutions), longest "
            f"{shown.tokens.most if shown.tokens else 0} tokens; steps too long to play "
            f"{percent(shown.too_long_steps_share)}, too deep {percent(shown.too_deep_share)}"
        )
    return [
        f"problems: {train.kept:,} to train on ({rows}, {preview.overlap:,} also held out, "
        f"{train.duplicates:,} duplicates), {test.kept:,} held out; answers that do not grade as "
        f"right against themselves: {wrong:,}",
        f"prompts: {_tokens(train.prompt_tokens)}, held out {_tokens(test.prompt_tokens)}; "
        f"model.max_length {config.model.max_length} has room for {max(train.room, 0)}: too long "
        f"are {train.too_long:,} and {test.too_long:,}",
        demonstrations,
    ]


def tables(preview: Preview, config: Config) -> list[Table]:
    """Returns the problems, some of them as they were read, and the demonstrations as tables."""
    found = [_problem_table(preview), _example_table(preview)]
    if preview.demonstrations is not None:
        found.append(_demonstration_table(preview.demonstrations, config))
    return found


def _problem_table(preview: Preview) -> Table:
    made = ", made on the spot" if preview.generated else ""
    table = _table(f"problems: {preview.task}{made}", "", "training", "held out")
    sides = (preview.train, preview.test)
    dropped = {reason for facts in sides for reason in facts.dropped}
    _row(table, "rows read", (facts.rows for facts in sides))
    for reason in sorted(dropped):
        _row(table, f"dropped: {reason}", (facts.dropped.get(reason, 0) for facts in sides))
    _row(table, "kept", (facts.kept for facts in sides))
    _row(table, "duplicates among them", (facts.duplicates for facts in sides))
    _row(table, "looked at for what follows", (facts.looked_at for facts in sides))
    table.add_row("tokens of a prompt", *(_tokens(facts.prompt_tokens) for facts in sides))
    _row(table, "room for a prompt", (facts.room for facts in sides))
    _row(table, "too long to be played", (facts.too_long for facts in sides))
    wrong = (facts.not_right_against_themselves for facts in sides)
    _row(table, "answers not right against themselves", wrong)
    changed, texts = preview.tokenizer.changed, preview.tokenizer.texts
    table.caption = f"texts that the tokenizer changes: {changed:,} of {texts:,} tried"
    table.caption_justify = "left"
    return table


def _example_table(preview: Preview) -> Table:
    table = Table(title="problems as they were read", title_justify="left")
    for column in ("where", "problem", "answer"):
        table.add_column(column)
    for each in preview.train.examples:
        table.add_row(*(_shown(text) for text in (each.id, each.problem, each.answer)))
    return table


def _demonstration_table(facts: DemonstrationFacts, config: Config) -> Table:
    search = config.search
    table = _table(f"demonstrations: {facts.looked_at:,} looked at", "", "figure", "share")
    length, depth = config.model.max_length, search.max_depth
    longest = search.max_thought_tokens
    table.add_row("tokens of one", _tokens(facts.tokens), "")
    table.add_row(
        f"dropped: longer than model.max_length ({length})",
        f"{facts.dropped:,}",
        percent(facts.dropped_share),
    )
    table.add_row(
        "dropped of those with a whole solution",
        f"{facts.whole_dropped:,}",
        percent(facts.whole_dropped_share),
    )
    table.add_row("thoughts of one", _tokens(facts.thoughts), "")
    table.add_row(
        f"deeper than search.max_depth ({depth})",
        f"{facts.too_deep:,}",
        percent(facts.too_deep_share),
    )
    table.add_row("tokens of a step", _tokens(facts.step_tokens), "")
    table.add_row(
        f"steps longer than search.max_thought_tokens ({longest})",
        f"{facts.too_long_steps:,}",
        percent(facts.too_long_steps_share),
    )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    return table


def _row(table: Table, name: str, counts: Iterable[int]) -> None:
    table.add_row(escape(name), *(f"{count:,}" for count in counts))


def _tokens(numbers: Spread | None) -> str:
    if numbers is None:
        return "none"
    return f"{numbers.least} to {numbers.most}, median {numbers.median}, 95% to {numbers.p95}"


def _shown(text: str, most: int = 300) -> str:
    return escape(printable(text if len(text) <= most else f"{text[: most - 1]}…"))
