"""What the card of a chat model says of it, with the program that asks it."""

from llamao1_cli.config import Config

WHAT = """\
a chat model that was trained by self-play reinforcement learning to solve problems in its own
words. Adapters are merged; the tokenizer, its chat template and the settings of generation are the
base model's."""

HOW = "It is asked as any chat model is. This solves a problem greedily, without search:"

_CODE = """\
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

folder, problem = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).eval()
messages = [
TURNS    {"role": "user", "content": problem},
]
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt", **ARGUMENTS
)
written = model.generate(**prompt, do_sample=False, max_new_tokens=LENGTH)[0]
print(tokenizer.decode(written[prompt["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def chat_code(config: Config) -> str:
    """Returns a program that solves a problem with transformers alone, given folder and problem."""
    chat, search = config.model.chat, config.search
    turns = [("system", chat.system)] if chat.system is not None else []
    for each in chat.examples:
        turns += [("user", each.problem), ("assistant", each.solution)]
    messages = [{"role": role, "content": text} for role, text in turns]
    said = "".join(f"    {message!r},\n" for message in messages)
    length = search.max_depth * search.max_thought_tokens
    code = _CODE.replace("LENGTH", str(length)).replace("ARGUMENTS", repr(chat.arguments))
    return code.replace("TURNS", said)
