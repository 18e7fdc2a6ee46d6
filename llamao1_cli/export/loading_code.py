"""The program of a model card: it loads the exported model, and solves a problem with it."""

from llamao1_cli.config import Config

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
    if STATED:
        break
"""

# What tells that a thought states its answer; conclusions do, whatever the form.
_STATED = {
    "boxed": r'"\\boxed" in thought or "####" in thought',
    "tags": '"</answer>" in thought',
    "hashes": '"####" in thought',
}


def loading_code(config: Config) -> str:
    """Returns a program that solves a problem with transformers alone, given folder and problem."""
    judged = 'shown = "<positive_rating>" if value >= 0.5 else "<negative_rating>"'
    answers = config.task.answers
    named = _STATED.get(answers) if isinstance(answers, str) else None
    code = _CODE.replace("MAX_DEPTH", str(config.search.max_depth))
    code = code.replace("STATED", named or '"<conclusion>" in thought')
    if config.search.show_ratings:
        return code.replace("SHOWN", judged)
    return code.replace("    SHOWN\n", "")
