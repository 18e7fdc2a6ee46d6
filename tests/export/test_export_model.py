"""An exported folder: loaded without this program it gives the same logits, and its card's code
runs."""

import ast
import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from plain_models import MAX_LENGTH, plain_folder
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from llamao1_cli.config import ArithmeticTask, Config, LoraConfig, ModelConfig, SearchConfig
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.errors import UserError
from llamao1_cli.export.card import model_card
from llamao1_cli.export.commands import export_model, export_openlongcot, export_rows
from llamao1_cli.export.loading_code import loading_code
from llamao1_cli.export.model import save_plain, trained_model
from llamao1_cli.files.manifest import write_manifest
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.language.answer_forms import FORMS, FormName
from llamao1_cli.language.marked import MARKERS, METAS, parse_tree
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import LanguageModel, load_model, save_model
from llamao1_cli.run import commands

ROOT = Path(__file__).parents[2]
PROBLEM = "Mia has 3 pens. January: 4 found. How many pens does Mia have?"

# What someone else runs: transformers alone.
READER = """
import sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, text, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).eval()
ids = tokenizer(text, return_tensors="pt").input_ids
with torch.no_grad():
    save_file({"ids": ids[0], "logits": model(ids).logits[0]}, out)
settings = model.generation_config
print(settings.eos_token_id, settings.pad_token_id, settings.max_new_tokens)
assert not [name for name in sys.modules if name.startswith(("llamao1", "peft"))]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run of a model built from scratch."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    overrides = [f"run.dir={folder}", "eval.strategies=[greedy,majority,weighted_vote]"]
    config = load_config(ROOT / "configs" / "tiny.yaml", overrides)
    commands.train(config, trees=None, resume=False, overwrite=False)
    return folder


def lora_run(folder: Path, *, tied: bool) -> Path:
    """A run folder whose checkpoint holds trained adapters of a small pretrained model."""
    base = plain_folder(folder / "base", tied=tied)
    config = Config(
        model=ModelConfig(
            language="marked",
            path=str(base),
            lora=LoraConfig(rank=2),
            device="cpu",
            max_length=MAX_LENGTH,
        )
    )
    adapted = load_model(config.model, [], seed=0)
    ids = adapted.language(METAS).root("Mia has 3 pens.")
    weights = [w for w in adapted.model.parameters() if w.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    for _ in range(2):  # the first step moves one half of an adapter only
        optimizer.zero_grad()
        batch = torch.tensor([ids])
        adapted.model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    run = folder / "run"
    checkpoint = run / "checkpoints" / "iteration-000001"
    save_model(adapted, checkpoint / "model")
    write_manifest(checkpoint)
    (run / "config.yaml").write_text(dump_config(config))
    return run


def loaded_elsewhere(folder: Path, text: str, out: Path) -> tuple[list[int], torch.Tensor, str]:
    """Tokens and logits of a text, and the generation settings, in a program without this one."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READER, folder, text, out],
        capture_output=True,
        text=True,
        env=environment,
        cwd=out.parent,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    tensors = load_file(out)
    return tensors["ids"].tolist(), tensors["logits"], done.stdout.strip()


def assert_same_model(own: LanguageModel, folder: Path, tmp_path: Path, longest: int) -> None:
    language = own.language(METAS)
    ids = language.root(PROBLEM) + language.opening(1)
    text = own.tokenizer.decode(ids, skip_special_tokens=False)
    read, logits, settings = loaded_elsewhere(folder, text, tmp_path / "logits.safetensors")
    assert read == ids
    with torch.no_grad():
        expected = own.model.eval()(input_ids=torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    pad = own.tokenizer.convert_tokens_to_ids(own.tokenizer.pad_token or own.tokenizer.eos_token)
    assert settings == f"{language.thought_end} {pad} {longest}"


@pytest.mark.slow
def test_a_built_model_gives_the_same_logits_elsewhere(run: Path, tmp_path: Path) -> None:
    export_model(run, tmp_path / "out", overwrite=False)
    config = load_config(run / "config.yaml", None)
    own = trained_model(config, RunFolder(run).latest() / "model")
    assert_same_model(own, tmp_path / "out", tmp_path, config.search.max_thought_tokens)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "README.md"} <= names
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_adapters_are_merged(tmp_path: Path, tied: bool) -> None:
    run = lora_run(tmp_path, tied=tied)
    export_model(run, tmp_path / "out", overwrite=False)
    config = load_config(run / "config.yaml", None)
    own = trained_model(config, RunFolder(run).latest() / "model")
    bare = load_model(config.model, [], seed=0)
    ids = torch.tensor([own.language(METAS).root(PROBLEM)])
    with torch.no_grad():
        moved = (own.model.eval()(ids).logits - bare.model.eval()(ids).logits).abs().max()
    assert moved > 0.01  # the adapters say something
    assert_same_model(own, tmp_path / "out", tmp_path, config.search.max_thought_tokens)
    assert not list((tmp_path / "out").glob("adapter*"))
    known = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    assert set(MARKERS) <= set(known)


def greedy(own: LanguageModel, language: MarkedLanguage, ids: list[int], most: int) -> list[int]:
    """The likeliest thought behind `ids`, by plain forwards."""
    thought: list[int] = []
    while len(thought) < most and language.thought_end not in thought:
        with torch.no_grad():
            logits = own.model(input_ids=torch.tensor([ids + thought])).logits[0, -1]
        thought.append(int(logits.argmax()))
    return thought


@pytest.mark.slow
@pytest.mark.parametrize("show_ratings", [False, True])
def test_the_code_of_the_card_solves_a_problem(
    run: Path, tmp_path: Path, show_ratings: bool
) -> None:
    config = load_config(run / "config.yaml", [f"search.show_ratings={show_ratings}"])
    export_model(run, tmp_path / "out", overwrite=False)
    card = (tmp_path / "out" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert code == loading_code(load_config(run / "config.yaml", None))
    (tmp_path / "solve.py").write_text(loading_code(config))
    done = subprocess.run(
        [sys.executable, "solve.py", "out", PROBLEM],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    own = trained_model(config, RunFolder(run).latest() / "model")
    own.model.eval()
    language, lines = own.language(METAS), []
    ids = language.root(PROBLEM)
    for depth in range(1, config.search.max_depth + 1):
        ids = ids + language.opening(depth)
        words = greedy(own, language, ids, config.search.max_thought_tokens)
        words += [language.thought_end] * (language.thought_end not in words)
        ids += [*words, language.rating_start]
        with torch.no_grad():
            logits = own.model(input_ids=torch.tensor([ids])).logits[0, -1]
        value = float(logits[[language.positive, language.negative]].softmax(-1)[0])
        said = own.tokenizer.decode(words[:-1], skip_special_tokens=False)
        lines.append(f"{value:.2f} {said}")
        seen = language.tokenizer.get_vocab()["<unknown_rating>"]
        if show_ratings:
            seen = language.positive if value >= 0.5 else language.negative
        ids += [seen, language.rating_end]
        if "\\boxed" in said:
            break
    assert done.stdout == "\n".join(lines) + "\n"


CHAT = "{{ bos_token }}{% for m in messages %}<tool>{{ m.content }}{% endfor %}"


def base_with_settings(folder: Path, **generation: Any) -> LanguageModel:
    """A pretrained model with a chat template, special tokens and generation settings."""
    path = plain_folder(folder / "base", tied=True, spare_rows=8)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_special_tokens(
        {"bos_token": "<s>", "unk_token": "<unk>", "extra_special_tokens": ["<tool>"]}
    )
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(path)
    (path / "generation_config.json").write_text(json.dumps(generation))
    config = ModelConfig(path=str(path), device="cpu", max_length=MAX_LENGTH, language="marked")
    return load_model(config, [], 0)


def test_what_the_base_model_brought_is_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    settings = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1}
    base = base_with_settings(tmp_path, **settings, max_length=777, eos_token_id=0)
    out = tmp_path / "out"
    dropped = save_plain(base, out, Config())
    kept = GenerationConfig.from_pretrained(out)
    assert {name: getattr(kept, name) for name in settings} == settings
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert (tokenizer.bos_token, tokenizer.unk_token) == ("<s>", "<unk>")
    assert tokenizer.extra_special_tokens == ["<tool>"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat == "<s><tool>Hi"
    own = base.tokenizer.encode("Hi", add_special_tokens=False)
    assert tokenizer("Hi")["input_ids"] == own  # nothing is added
    end = tokenizer.convert_tokens_to_ids("<end_of_thought>")
    length = Config().search.max_thought_tokens
    assert (kept.eos_token_id, kept.bos_token_id) == (end, tokenizer.bos_token_id)
    assert (kept.max_length, kept.max_new_tokens) == (None, length)
    assert dropped == [
        "the end of text <eos>, for a text ends at <end_of_thought> now",
        f"max_length 777 of its generation settings, for a thought has {length} tokens at most",
    ]


def test_generation_settings_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    base = base_with_settings(tmp_path, do_sample=False, temperature=0.6)
    dropped = save_plain(base, tmp_path / "out", Config())
    assert "its generation settings, which are faulty: " in dropped[-1]
    assert GenerationConfig.from_pretrained(tmp_path / "out").temperature in (None, 1.0)


def test_a_model_from_scratch_has_nothing_to_lose(tmp_path: Path, tiny: LanguageModel) -> None:
    copied = LanguageModel(copy.deepcopy(tiny.model), tiny.tokenizer, tiny.name)
    assert save_plain(copied, tmp_path / "out", Config()) == []


@pytest.mark.parametrize("answers", FORMS)
def test_the_code_of_the_card_ends_at_an_answer_of_any_form(answers: FormName) -> None:
    code = loading_code(Config(task=ArithmeticTask(answers=answers)))
    (ends,) = re.findall(r"    if (.*):\n        break", code)
    thought = "<conclusion>" + FORMS[answers].statement("7")
    assert eval(ends, {"thought": thought})
    assert not eval(ends, {"thought": "<expansion>3+4=7"})


def test_the_code_of_the_card_ends_at_an_answer() -> None:
    words = {n.value for n in ast.walk(ast.parse(loading_code(Config()))) if hasattr(n, "value")}
    assert {"\\boxed", "####"} <= {word for word in words if isinstance(word, str)}
    depths = re.findall(r"range\(1, (.*) \+ 1\)", loading_code(Config(search={"max_depth": 9})))
    assert depths == ["9"]


@pytest.mark.slow
def test_the_card_tells_what_the_run_says(run: Path, tmp_path: Path) -> None:
    export_model(run, tmp_path / "out", overwrite=False)
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "transformers"
    assert "base_model" not in front
    config = re.findall(r"```yaml\n(.*?)```", card, flags=re.DOTALL)[-1]
    assert config == (run / "config.yaml").read_text()
    for iteration in (0, 2):
        result = json.loads(RunFolder(run).evaluation(iteration).read_text())
        for name, row in result["strategies"].items():
            low, high = row["ci95"]
            cell = f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})"
            assert re.search(rf"^\| {re.escape(name)} \|.*{re.escape(cell)}", card, re.MULTILINE)
    assert "iteration-000002" in card
    assert "before self-play | after iteration 2" in card


def test_a_card_names_a_hub_model_and_no_name_is_markup() -> None:
    config = Config(
        model=ModelConfig(path="org/base-1B", lora=LoraConfig(rank=4, alpha=8)),
        task={"kind": "data", "train": {"hub": "org/sums"}, "test": {"path": "x|<b>`.jsonl"}},
        search=SearchConfig(max_depth=3),
    )
    row = {"accuracy": 0.5, "ci95": [0.25, 0.75]}
    evaluations = {0: {"n": 8, "strategies": {"gre|edy": row}}}
    card = model_card(config, "# a\n# b", "warmup-000005", evaluations)
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["base_model"], front["datasets"]) == ("org/base-1B", ["org/sums"])
    assert "`org/base-1B`; LoRA of rank 4, alpha 8" in card
    assert "| greedy | 0.500 (0.250 to 0.750) |" in card
    assert "org/sums, train; held out: xb.jsonl" in card
    assert "\n# # a # b\n" in card
    assert "not evaluated" in model_card(config, "a", "iteration-000001", {})


@pytest.mark.slow
def test_only_an_earlier_export_is_replaced(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_model(run, out, overwrite=False)
    (out / "stale.safetensors").write_text("")
    with pytest.raises(UserError, match=r"out exists; add --overwrite"):
        export_model(run, out, overwrite=False)
    export_model(run, out, overwrite=True)
    assert not (out / "stale.safetensors").exists()
    weights = RunFolder(run).latest() / "model"
    before = sorted(path.name for path in weights.iterdir())
    for folder in (run, weights):
        with pytest.raises(UserError, match="holds other files; name another folder"):
            export_model(run, folder, overwrite=True)
    assert sorted(path.name for path in weights.iterdir()) == before


@pytest.mark.slow
def test_rows_of_a_run_and_of_its_tree_files(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "text.jsonl"
    export_openlongcot(run, out, last=0, overwrite=False)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 8  # four problems in each of two iterations
    assert all(parse_tree(row["text"]) for row in rows)
    export_openlongcot(run / "trees", out, last=1, overwrite=True)
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows[4:]
    with pytest.raises(UserError, match=r"exists; add --overwrite"):
        export_openlongcot(run, out, last=0, overwrite=False)
    options = {"last": 0, "margin": 0.5, "overwrite": False}
    with pytest.raises(UserError, match=r"holds no tokenizer\.json; name the run or model folder"):
        export_rows(run / "trees", "sft", tmp_path / "no", tokenizer=None, **options)
    plain = plain_folder(tmp_path / "plain", tied=True)
    with pytest.raises(UserError, match="does not know the marked language"):
        export_rows(run / "trees", "sft", tmp_path / "no", tokenizer=plain, **options)
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_rows_that_do_not_read_back_are_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every tree gets a right conclusion; one problem holds a word that is a token."""
    trees = [json.loads(line) for line in RunFolder(run).trees(1).read_text().splitlines()]
    reader = AutoTokenizer.from_pretrained(RunFolder(run).latest() / "model")
    assert isinstance(reader, PreTrainedTokenizerFast)
    text = "The answer is \\boxed{7}."
    ids = reader.encode(f"{text}<end_of_thought>", add_special_tokens=False)
    for tree in trees:
        number, template = len(tree["nodes"]), json.loads(json.dumps(tree["nodes"][-1]))
        template["thought"] |= {"meta": None, "text": text, "ids": ids, "forced_meta": False}
        template["thought"] |= {"logprobs": [-1.0] * len(ids), "complete": True}
        template["thought"] |= {"entropy": [0.0] * len(ids), "varentropy": [0.0] * len(ids)}
        template |= {"id": number, "parent": 0, "depth": 1, "children": [], "answer": "7"}
        tree["nodes"].append(template | {"outcome": True, "target": 1.0, "leaves": 1})
        tree["nodes"][0]["children"].append(number)
    trees[0]["problem"]["text"] = "How many <pad>?"
    folder = tmp_path / "trees"
    folder.mkdir()
    (folder / "one.jsonl").write_text("".join(json.dumps(tree) + "\n" for tree in trees))
    options = {"last": 0, "margin": 0.5, "overwrite": False}
    export_rows(folder, "sft", tmp_path / "sft.jsonl", tokenizer=run, **options)
    rows = [json.loads(line) for line in (tmp_path / "sft.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert {row["completion"] for row in rows} == {f"{text}<end_of_thought>"}
    said = " ".join(capsys.readouterr().out.split())
    assert "3 rows from 1 file of trees; 1 left out, as they hold words that are special" in said
    (folder / "one.jsonl").write_text(json.dumps(trees[0]) + "\n")
    with pytest.raises(UserError, match="reads marked text otherwise"):
        export_rows(folder, "sft", tmp_path / "none", tokenizer=run, **options)
    with pytest.raises(UserError, match="no two thoughts behind one path differ enough"):
        export_rows(folder, "dpo", tmp_path / "none", tokenizer=run, **options)
    assert not (tmp_path / "none").exists()
