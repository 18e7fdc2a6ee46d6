"""Tokenizers with the chat templates of public models, and a model that says varied things."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from toy_models import KINDS
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from llamao1_cli.language.chat.language import ChatLanguage
from llamao1_cli.language.chat.settings import ChatSettings

CHATML = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim }}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] | trim + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{% endfor %}"
)
PHI = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
# The template, the special tokens, the one that begins a text, ends a text, ends a turn; whether a
# system prompt is taken.
TEMPLATES = {
    "chatml": (CHATML, ["<|im_start|>"], None, "<|im_end|>", "<|im_end|>", True),
    "llama3": (
        LLAMA3,
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        True,
    ),
    "gemma": (
        GEMMA,
        ["<start_of_turn>", "<end_of_turn>"],
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        False,
    ),
    "mistral": (MISTRAL, ["[INST]", "[/INST]"], "<s>", "</s>", "</s>", False),
    "phi": (
        PHI,
        ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        None,
        "<|endoftext|>",
        "<|end|>",
        True,
    ),
}
PIECES = {"mistral"}  # the kinds whose tokenizers work on pieces, not on bytes
CORPUS = [
    "Mia has 3 pens and buys 4 more. How many pens has she?\n3 + 4 = 7.\n\nThe answer is 7.\n",
    "Ben had 12 coins.\nHe gives away 5 of them.\n12 - 5 = 7\nThe answer is \\boxed{7}.\n\n",
]
SAID = "\n .\n = 7 1 The answer is \\boxed{7}.\n\n"  # what the model likes to say


def chat_tokenizer(kind: str = "chatml") -> PreTrainedTokenizerFast:
    """A small tokenizer that puts the token that begins a text before what it reads, if the kind
    has one."""
    template, special, bos, eos, _, _ = TEMPLATES[kind]
    tokenizer = pieces_tokenizer() if kind in PIECES else byte_level_tokenizer()
    names = [name for name in dict.fromkeys([*special, bos, eos, "<pad>"]) if name]
    tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    if bos:
        first = [(bos, tokenizer.token_to_id(bos))]
        tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=first)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token="<pad>"
    )
    fast.chat_template = template
    return fast


def byte_level_tokenizer() -> Tokenizer:
    """As Qwen's and Llama 3's, but with no word boundary at punctuation and line ends, so that it
    merges them."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(
        [[".\n", ").\n", "\n\n", ".\n\n", " 7", "7.", "the "]] * 9, trainer
    )
    return tokenizer


def pieces_tokenizer() -> Tokenizer:
    """As Mistral's: words with their space before them as one mark, other characters as bytes, and
    no space at the beginning of a text that is read back."""
    letters = "".join(sorted({*"".join(CORPUS), *map(chr, range(32, 127))} - {"\n", " "}))
    vocabulary = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters, "▁7", "▁T"]
    model = BPE(
        vocab={piece: index for index, piece in enumerate(vocabulary)},
        merges=[("▁", "7"), ("▁", "T")],
        byte_fallback=True,
        fuse_unk=True,
        unk_token="<unk>",
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def chat_language(kind: str = "chatml", **settings: object) -> ChatLanguage:
    """The chat language by that tokenizer."""
    return ChatLanguage(chat_tokenizer(kind), ChatSettings(**settings))


def chat_model(language: ChatLanguage, kind: str = "llama", seed: int = 0) -> PreTrainedModel:
    """A random model that ends lines and turns often enough."""
    torch.manual_seed(seed)
    config_class, model_class, extra = KINDS[kind]
    config = config_class(
        vocab_size=len(language.tokenizer) + 3,  # some models have rows that no token uses
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.3,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=sorted(language.turn_ends),
        pad_token_id=None,
        **extra,
    )
    model = model_class(config)
    biased = torch.nn.Linear(32, config.vocab_size, bias=True)
    with torch.no_grad():
        biased.weight.copy_(model.lm_head.weight)
        biased.bias.zero_()
        biased.bias[[*set(language.encode(SAID)), *language.turn_ends]] = 3.0
    model.lm_head = biased
    return model.eval()


def chat_folder(folder: Path, kind: str = "chatml", seed: int = 0) -> Path:
    """A folder of a small random model with a chat template, as others save them."""
    language = chat_language(kind)
    torch.manual_seed(seed)
    config = chat_model(language).config
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = sorted(language.turn_ends)
    model.save_pretrained(folder)
    language.tokenizer.save_pretrained(folder)
    return folder
