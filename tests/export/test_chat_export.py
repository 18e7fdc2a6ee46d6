"""A chat model leaves as it came, only trained: template, settings and special tokens are kept."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from chat_models import chat_folder, chat_language
from command_line import InProcess
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from llamao1_cli.config import Config
from llamao1_cli.config.file import dump_config
from llamao1_cli.export.chat_code import chat_code

PROBLEM = "What is 3+4?"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = chat_folder(tmp_path_factory.mktemp("base"), "llama3")
    settings = GenerationConfig.from_pretrained(folder)
    settings.do_sample, settings.temperature, settings.top_p = True, 0.6, 0.9
    settings.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def settings(base: Path) -> Config:
    return Config(
        model={
            "path": str(base),
            "max_length": 256,
            "device": "cpu",
            "chat": {"system": "Think.", "examples": [{"problem": "1+1?", "solution": "2"}]},
        },
        task={"kind": "arithmetic", "min_operations": 1, "max_operations": 2},
        search={"simulations": 2, "max_depth": 3, "max_thought_tokens": 8},
        learn={"problems": 2, "batch_size": 2},
        eval={"problems": 2, "samples": 2, "strategies": ["greedy", "pass"]},
        run={"iterations": 1, "threads": 1},
    )


@pytest.fixture(scope="module")
def run(settings: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "chat.yaml").write_text(dump_config(settings), encoding="utf-8")
    return folder


def test_a_run_in_chat_exports_a_model_that_is_asked_as_before(
    base: Path,
    run: Path,
    settings: Config,
    main: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Train, resume, solve, report and export, from nothing but a model folder."""
    config = ["--config", str(run / "chat.yaml"), "--set", f"run.dir={run / 'out'}"]
    out = run / "out"
    for command in (
        ["train", *config],
        ["train", *config, "--set", "run.iterations=2", "--resume"],
        ["solve", *config, PROBLEM],
        ["report", out, "--out", run / "page.html"],
        ["export", out, "--to", "hf", "--out", run / "model"],
    ):
        done = main(*command)
        assert done.returncode == 0, done.stderr
    for to in ("sft", "openlongcot"):
        refused = main("export", out, "--to", to, "--out", run / "rows.jsonl")
        assert refused.returncode == 2
        assert "trees of a chat model are in its own words" in refused.stderr
    before, after = (AutoTokenizer.from_pretrained(folder) for folder in (base, run / "model"))
    assert after.get_vocab() == before.get_vocab()
    assert after.chat_template == before.chat_template
    assert after.special_tokens_map == before.special_tokens_map
    assert after("Why?")["input_ids"] == before("Why?")["input_ids"]
    kept, own = (GenerationConfig.from_pretrained(folder) for folder in (run / "model", base))
    assert kept.to_diff_dict() == own.to_diff_dict()
    assert len(kept.eos_token_id) == 2
    program = (run / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert program == chat_code(settings)
    (run / "ask.py").write_text(program)
    monkeypatch.setattr(sys, "argv", ["ask.py", str(run / "model"), PROBLEM])
    capfd.readouterr()
    runpy.run_path(str(run / "ask.py"))
    assert capfd.readouterr().out == greedy(run / "model") + "\n"


def greedy(folder: Path) -> str:
    """What the exported model says to the prompt that it was trained on."""
    language = chat_language("llama3", system="Think.", examples=(("1+1?", "2"),))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    prompt = torch.tensor([language.root(PROBLEM)])
    made = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24
    )
    return str(language.tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True))
