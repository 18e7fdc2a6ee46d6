"""Turn one GGUF file into a plain Hugging Face folder (safetensors weights and tokenizer)."""

import argparse
from pathlib import Path

import torch
from gguf import GGUFReader
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerBase


def convert_model(gguf: Path, out: Path) -> int:
    """Save the unpacked weights; return the longest context the model was made for."""
    # fp32, because it keeps what the file holds: an unpacked Q8_0 or Q4_1 weight is a small integer
    # times an fp16 scale (plus an fp16 offset), more bits than the 8 of a bf16 significand.
    # dequantize: transformers refuses to save a model that it holds as a quantised one.
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(out)
    return int(model.config.max_position_embeddings)


def convert_tokenizer(gguf: Path, out: Path, max_length: int) -> None:
    """Save the tokenizer that the file describes."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name
    )
    # GGUF names the rule that cuts text before the merges instead of spelling it out, and
    # transformers falls back to GPT-2's. SmolLM sets every digit apart first, which changes how
    # spaces in front of a number are grouped.
    rule = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if rule is not None and rule.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
            [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        )
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(out)


def main() -> None:
    """Convert the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path, help="GGUF file to read")
    parser.add_argument("out", type=Path, help="folder to write")
    args = parser.parse_args()
    max_length = convert_model(args.gguf, args.out)
    convert_tokenizer(args.gguf, args.out, max_length)


if __name__ == "__main__":
    main()
