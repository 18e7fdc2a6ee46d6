"""Models that lack the markers: what their new rows start as, and how they train."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_models import MAX_LENGTH, plain_folder
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from llamao1_cli.config import LoraConfig, ModelConfig
from llamao1_cli.language.marked import (
    MARKERS,
    METAS,
    MarkedNode,
    Meta,
    Rating,
    neutralise,
    parse_tree,
    render_tree,
)
from llamao1_cli.model.load import LanguageModel, load_model, save_model


def load(
    folder: Path, lora: LoraConfig | None = None, weights: Path | None = None
) -> LanguageModel:
    config = ModelConfig(
        language="marked", path=str(folder), lora=lora, device="cpu", max_length=MAX_LENGTH
    )
    return load_model(config, [], seed=0, weights=weights)


def logits(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("spare_rows", [0, 5, 64])
def test_new_markers_start_at_the_mean_of_their_words(
    tmp_path: Path, tied: bool, spare_rows: int
) -> None:
    folder = plain_folder(tmp_path / "plain", tied=tied, spare_rows=spare_rows)
    before = LlamaForCausalLM.from_pretrained(folder)
    plain = PreTrainedTokenizerFast.from_pretrained(folder)
    after = load(folder)
    heads = {"get_input_embeddings", "get_output_embeddings"}
    for head in heads:
        old, new = getattr(before, head)().weight, getattr(after.model, head)().weight
        assert len(new) == max(len(old), len(after.tokenizer))
        assert torch.equal(new[: len(plain)], old[: len(plain)])
        for marker in MARKERS:
            words = plain.encode(marker[1:-1].replace("_", " "), add_special_tokens=False)
            row = new[after.tokenizer.convert_tokens_to_ids(marker)]
            torch.testing.assert_close(row, old[words].mean(0))
    inputs, outputs = (getattr(after.model, head)().weight for head in sorted(heads))
    assert (inputs is outputs) == tied
    assert after.model.config.vocab_size == len(inputs)
    text = logits(after.model, after.language(METAS).root("Mia has 3 pens."))
    assert text.shape[-1] == len(inputs)


def test_markers_are_added_once(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "plain", tied=True)
    first = load(folder)
    save_model(first, tmp_path / "marked")
    second = load(tmp_path / "marked")
    assert second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    for name, weight in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], weight), name


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(plain_folder(tmp_path_factory.mktemp("models") / "plain", tied=True))


@given(st.integers(1, 300), st.text(max_size=20), st.sampled_from(METAS))
def test_a_plain_tokenizer_writes_paths_with_digits(
    plain: LanguageModel, depth: int, text: str, meta: Meta
) -> None:
    language = plain.language(METAS)
    tokens = [*language.encode(text), language.thought_end]
    node = language.node(depth, tokens, forced_meta=meta, complete=True, shown=Rating.NEGATIVE)
    written = plain.tokenizer.decode(
        language.root("p") + node.ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    nodes = [
        MarkedNode(-1, 0, "p", Meta.PROBLEM, Rating.UNKNOWN),
        MarkedNode(depth - 1, depth, neutralise(text), meta, Rating.NEGATIVE),
    ]
    assert written == render_tree(nodes).replace("\n<start_of_f", "<start_of_f")
    if depth == 1:
        assert parse_tree(written) == nodes


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_with_lora_only_adapters_and_marker_rows_train(tmp_path: Path, tied: bool) -> None:
    folder = plain_folder(tmp_path / "plain", tied=tied)
    whole, adapted = load(folder), load(folder, LoraConfig(rank=2))
    language = adapted.language(METAS)
    ids = language.root("Mia has 3 pens.") + language.opening(1)
    torch.testing.assert_close(logits(adapted.model, ids), logits(whole.model, ids))

    model = adapted.model.train()
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name or "trainable_tokens" in name for name in trained)
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=1.0)
    batch = torch.tensor([ids])
    model(input_ids=batch, labels=batch).loss.backward()
    optimizer.step()
    learned = logits(model, ids)
    assert not torch.allclose(learned, logits(whole.model, ids))

    save_model(adapted, tmp_path / "adapter")
    again = load(folder, LoraConfig(rank=2), tmp_path / "adapter")
    torch.testing.assert_close(logits(again.model, ids), learned)

    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged, ids), learned)
    words = language.encode("aeiou")
    for head in ("get_input_embeddings", "get_output_embeddings"):
        new, old = getattr(merged, head)().weight, getattr(whole.model, head)().weight
        assert torch.equal(new[words], old[words])
        moved = (new != old).any(1).nonzero().flatten().tolist()
        assert {language.thought_end, language.rating_start} <= set(moved)
        assert set(moved) <= set(range(len(new) - len(MARKERS), len(new)))
    tie = torch.equal(merged.get_input_embeddings().weight, merged.get_output_embeddings().weight)
    assert tie == tied
