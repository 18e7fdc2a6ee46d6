"""What is lost of a run's data, and which settings bring it back."""

from collections.abc import Iterator

from llamao1_cli.config import Config
from llamao1_cli.preview.demonstrations import DemonstrationFacts
from llamao1_cli.preview.preview import Preview
from llamao1_cli.preview.problems import ProblemFacts
from llamao1_cli.preview.spread import percent, share


def warnings(preview: Preview, config: Config) -> list[str]:
    """Returns a line for each kind of data that is dropped or cut, with its remedy."""
    found = []
    if preview.overlap:
        found.append(
            f"{_part(preview.overlap, preview.train.rows)} training rows are in task.test, too, "
            "and are left out; give problems that are not held out"
        )
    for side, facts in (("training", preview.train), ("held-out", preview.test)):
        found += _about_problems(side, facts, config)
    if preview.demonstrations is not None:
        found += _about_demonstrations(preview.demonstrations, config)
    tokenizer = preview.tokenizer
    if tokenizer.changed:
        example = tokenizer.examples[0]
        lost = f" (it loses {' '.join(tokenizer.letters)})" if tokenizer.letters else ""
        found.append(
            f"{_part(tokenizer.changed, tokenizer.texts)} texts come back changed from the "
            f"tokenizer{lost}, such as {example.written!r:.60}; choose another model.path"
        )
    return found


def refusals(preview: Preview, config: Config, *, plays: bool, evaluates: bool) -> list[str]:
    """Returns a line for each reason why nothing useful is left for a run that `plays` the training
    problems or `evaluates` on those held out."""
    found = []
    for key, facts, used in (("train", preview.train, plays), ("test", preview.test, evaluates)):
        if not used or not facts.looked_at:
            continue
        if facts.too_long == facts.looked_at:
            found.append(
                f"task.{key}: no problem leaves room for a thought in model.max_length "
                f"({config.model.max_length}); {_more_room(facts, config)}"
            )
        if facts.not_right_against_themselves == facts.looked_at:
            found.append(
                f"task.{key}: no answer grades as right against itself, such as "
                f"{facts.ungradable[0].answer!r:.60}; name the field of the final answers in "
                "task.answer_field, and in task.answers a form that can state them"
            )
    demonstrations = preview.demonstrations
    if demonstrations is not None and demonstrations.dropped == demonstrations.looked_at:
        found.append(
            f"warmup: every demonstration is longer than model.max_length "
            f"({config.model.max_length}); {_longer_context(demonstrations, config)}"
        )
    return found


def _about_problems(side: str, facts: ProblemFacts, config: Config) -> Iterator[str]:
    if facts.too_long:
        yield (
            f"{_part(facts.too_long, facts.looked_at)} {side} problems leave no room for a thought "
            f"in model.max_length ({config.model.max_length}) and cannot be played; "
            f"{_more_room(facts, config)}"
        )
    if facts.not_right_against_themselves:
        example, wrong = facts.ungradable[0], facts.not_right_against_themselves
        yield (
            f"{_part(wrong, facts.looked_at)} {side} answers do not grade as right against "
            f"themselves, such as {example.answer!r:.60} ({example.id}); mend "
            "them in the data"
        )


def _about_demonstrations(facts: DemonstrationFacts, config: Config) -> Iterator[str]:
    search = config.search
    if facts.dropped:
        yield (
            f"{_part(facts.dropped, facts.looked_at)} demonstrations, and "
            f"{percent(facts.whole_dropped_share)} of those that hold a whole solution, are longer "
            f"than model.max_length ({config.model.max_length}) and are left out; "
            f"{_longer_context(facts, config)}"
        )
    if facts.too_long_steps and facts.step_tokens is not None:
        yield (
            f"{_part(facts.too_long_steps, facts.steps)} steps are longer than "
            f"search.max_thought_tokens ({search.max_thought_tokens}), at which play cuts them; "
            f"raise it, to {facts.step_tokens.most} for all of them"
        )
    if facts.too_deep and facts.thoughts is not None:
        yield (
            f"{_part(facts.too_deep, facts.looked_at)} demonstrations have more thoughts than "
            f"search.max_depth ({search.max_depth}), so that play never reaches their end; "
            f"raise it, to {facts.thoughts.most} for all of them"
        )


def _more_room(facts: ProblemFacts, config: Config) -> str:
    longest = facts.prompt_tokens.most if facts.prompt_tokens else 0
    needed = config.model.max_length + longest - facts.room
    return (
        f"raise model.max_length, to {needed} for all of them, or lower search.max_thought_tokens"
    )


def _longer_context(facts: DemonstrationFacts, config: Config) -> str:
    longest = facts.tokens.most if facts.tokens else 0
    remedy = f"raise model.max_length, to {longest} for all of them"
    if config.model.path is None:
        remedy += ", or model.build.vocabulary, which makes texts shorter"
    return remedy


def _part(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({percent(share(part, whole))})"
