"""The chat language: prompts as the templates write them, thoughts cut where lines end."""

import re

import pytest
from chat_models import TEMPLATES, chat_language, chat_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.errors import UserError
from llamao1_cli.language.answer_forms import FORMS
from llamao1_cli.language.chat.language import OPENERS, ChatLanguage, Role
from llamao1_cli.language.chat.settings import ChatSettings
from llamao1_cli.language.choice import LanguageChoice
from llamao1_cli.language.marked import METAS, MarkedNode, Meta
from llamao1_cli.language.marked_language import MarkedLanguage

KINDS = list(TEMPLATES)
EXAMPLES = (("What is 1+1?", "1 + 1 = 2\nThe answer is 2."), ("And 2+2?", "The answer is 4."))
LANGUAGES = {kind: chat_language(kind) for kind in KINDS}
CHATML = LANGUAGES["chatml"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_what_the_template_makes_of_the_turns(kind: str) -> None:
    system = "Think." if TEMPLATES[kind][-1] else None
    language = chat_language(kind, system=system, examples=EXAMPLES)
    said = [{"role": "system", "content": "Think."}] if system else []
    for asked, answered in EXAMPLES:
        said += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    said += [{"role": "user", "content": "How many?"}]
    expected = language.tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_dict=False
    )
    assert language.root("How many?") == expected
    assert language.root("How many?").count(language.tokenizer.bos_token_id) == (
        TEMPLATES[kind][2] is not None
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_the_turn_is_the_templates_own_and_the_tokenizers(kind: str) -> None:
    *_, eos, turn_end, _ = TEMPLATES[kind]
    ids = LANGUAGES[kind].tokenizer.convert_tokens_to_ids
    assert LANGUAGES[kind].turn_ends == {ids(eos), ids(turn_end)}
    more = ChatLanguage(chat_tokenizer(kind), ChatSettings(), ends=[5])
    assert more.turn_ends == {ids(eos), ids(turn_end), 5}


def test_arguments_reach_the_template() -> None:
    plain, quiet = CHATML, chat_language(arguments={"enable_thinking": False})
    spelled = quiet.tokenizer.decode(quiet.root("Why?")[len(plain.root("Why?")) :])
    assert spelled == "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("kind", ["gemma", "mistral"])
def test_a_template_without_a_system_prompt_says_so_in_one_line(kind: str) -> None:
    language = chat_language(kind, system="Think.")
    with pytest.raises(UserError, match=r"^model\.chat: .*(S|s)ystem|roles[^\n]*$"):
        language.root("Why?")


def test_a_tokenizer_without_a_template_or_an_end_is_refused() -> None:
    tokenizer = chat_tokenizer("mistral")
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="has no chat template"):
        ChatLanguage(tokenizer, ChatSettings())
    tokenizer = chat_tokenizer("mistral")
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no token that ends a turn"):
        ChatLanguage(tokenizer, ChatSettings())


@given(
    st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>", "<pad>", "a", " ", "<"]), max_size=9)
)
def test_no_problem_ends_its_own_turn(parts: list[str]) -> None:
    special = set(CHATML.tokenizer.added_tokens_decoder)
    harmless = [i for i in CHATML.root("") if i in special]
    assert [i for i in CHATML.root("".join(parts)) if i in special] == harmless
    assert not special & set(CHATML.encode("".join(parts)))


lines = st.lists(
    st.sampled_from(["\n", " ", ".", ")", "7", "é", "漢", ".\n", "\n\n", ").\n\n", "x\n-"]),
    max_size=12,
).map("".join)


@given(lines, st.sampled_from(["\n", "\n\n", ". "]))
def test_a_thought_ends_where_the_separator_first_stands_behind_something(
    text: str, separator: str
) -> None:
    language = _separated(separator)
    ids = language.encode(text)
    ended = [language.ends_thought(ids[: end + 1]) for end in range(len(ids))]
    texts = [language.decode(ids[: end + 1])[1].lstrip() for end in range(len(ids))]
    first = next((end for end, said in enumerate(texts) if separator in said), len(ids))
    assert not any(ended[:first])
    assert all(ended[first : first + 1])


_MADE: dict[str, ChatLanguage] = {}


def _separated(separator: str) -> ChatLanguage:
    return _MADE.setdefault(separator, chat_language(separator=separator))


def test_separators_that_merge_with_punctuation_end_thoughts() -> None:
    names = CHATML.tokenizer.get_vocab()
    merged = [names[name] for name in (".Ċ", ").Ċ", ".ĊĊ")]
    assert all(CHATML.ends_thought([token]) for token in merged)
    assert not CHATML.ends_thought([names["ĊĊ"]])
    assert not CHATML.ends_thought([names["ĊĊ"], names["7"]])


def test_only_text_and_the_end_of_the_turn_may_be_sampled() -> None:
    size = len(CHATML.tokenizer) + 3
    grammar, special = CHATML.grammar(size), set(CHATML.tokenizer.added_tokens_decoder)
    words = set(range(size - 3)) - special
    assert set(grammar[Role.EARLY].nonzero().flatten().tolist()) == words - CHATML.turn_ends
    assert set(grammar[Role.ANY].nonzero().flatten().tolist()) == words | CHATML.turn_ends
    assert [CHATML.role(index, False, 3) for index in range(4)] == [1, 1, 0, 0]


@pytest.mark.parametrize("meta", METAS)
def test_a_chosen_meta_action_is_a_few_words(meta: Meta) -> None:
    opening = CHATML.opening(3, meta)
    assert CHATML.tokenizer.decode(opening) == OPENERS.get(meta, "")
    node = CHATML.node(3, [7, 8], forced_meta=meta, complete=True, shown="")
    assert node.ids == [*opening, 7, 8]
    assert node.ids[node.sampled :] == [7, 8]
    assert node.read == len(node.ids) - 1
    assert CHATML.decode(CHATML.encode("x\n"), meta) == (meta, OPENERS.get(meta, "") + "x\n")


def test_a_worked_solution_is_the_models_turn() -> None:
    steps = [
        MarkedNode(-1, 0, "How many?", Meta.PROBLEM),
        MarkedNode(0, 1, "3 + 4 = 7.", Meta.EXPANSION),
        MarkedNode(1, 2, "The answer is 7.", Meta.CONCLUSION),
    ]
    made = CHATML.supervised(steps, show_ratings=False, rating_weight=1.0)
    prompt = CHATML.root("How many?")
    said = CHATML.tokenizer.decode(made.inputs[len(prompt) :])
    assert made.inputs[: len(prompt)] == prompt
    assert said == "3 + 4 = 7.\nThe answer is 7.<|im_end|>"
    assert made.labels == made.inputs
    assert made.weights == [0.0] * len(prompt) + [1.0] * (len(made.inputs) - len(prompt))


def test_which_language_a_model_speaks(language: MarkedLanguage) -> None:
    chat = chat_tokenizer()
    assert isinstance(LanguageChoice().make(language.tokenizer, METAS), MarkedLanguage)
    assert isinstance(LanguageChoice().make(chat, METAS), ChatLanguage)
    assert not LanguageChoice("chat").marks(language.tokenizer)
    assert LanguageChoice("marked").marks(chat)
    chat.chat_template = None
    with pytest.raises(UserError) as error:
        LanguageChoice().marks(chat)
    assert re.fullmatch(r"model\.language: .*model\.path.*language: marked.*", str(error.value))


def test_answers_are_read_from_the_whole_solution() -> None:
    form = chat_language().answers
    assert form.whole
    assert form.stated_by(Meta.CONCLUSION, "The answer is \\boxed{7}.") is None
    assert form.stated is FORMS["boxed"].stated


@pytest.mark.parametrize("kind", KINDS)
def test_thoughts_that_were_cut_anywhere_are_the_text_together(kind: str) -> None:
    """No space is lost where a tokenizer reads none at the beginning of a text."""
    language, text = LANGUAGES[kind], "3 + 4 = 7.\nThe answer is 7.\n"
    ids = language.encode(text)
    whole = language.decode(ids)[1]
    assert whole.strip() == text.strip()
    for cut in range(len(ids) + 1):
        assert language.decode(ids[:cut])[1] + language.decode(ids[cut:])[1] == whole
    first = next(end for end in range(len(ids)) if language.ends_thought(ids[: end + 1]))
    assert language.decode(ids[: first + 1])[1].strip() == "3 + 4 = 7."
