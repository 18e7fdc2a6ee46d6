"""`llamao1 export`: what it may be asked for, checked before anything heavy is imported."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llamao1_cli.errors import UserError

MARGIN = 0.5


class Format(StrEnum):
    """What a run can be written as."""

    OPENLONGCOT = "openlongcot"
    SFT = "sft"
    DPO = "dpo"
    PRM = "prm"
    HF = "hf"


RunOrTrees = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Run folder, or a folder of tree files.", show_default=False
    ),
]
To = Annotated[Format, typer.Option(help="Format to write.", show_default=False)]
Out = Annotated[Path, typer.Option(help="JSONL file to write; of hf a folder.", show_default=False)]
Last = Annotated[
    int | None, typer.Option(min=1, help="Take the newest files of trees only, so many.")
]
MinMargin = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=f"dpo: least difference in the share of right leaves (default {MARGIN}).",
    ),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(
        help="sft, dpo, prm: run or model folder whose model grew a folder of tree files."
    ),
]
Replace = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier export wrote there.")
]


def export(
    run: RunOrTrees,
    to: To,
    out: Out,
    last: Last = None,
    min_margin: MinMargin = None,
    tokenizer: Tokenizer = None,
    overwrite: Replace = False,
) -> None:
    """Write trees as data for other trainers, or the newest weights as a plain model folder.

    openlongcot: whole trees as marked text, rated by what became of each thought; `sft` reads it.
    sft: prompt and completion, the two best right solutions of a problem; `sft` reads it too.
    dpo: prompt, chosen and rejected: thoughts behind one path, the better of which led further.
    prm: prompt, completions and labels: solutions by steps, true where a right answer was reached.
    hf: merged weights, tokenizer and model card; AutoModelForCausalLM loads the folder.
    """
    if last is not None and to is Format.HF:
        raise UserError("--last: --to hf reads no trees; leave it out")
    if min_margin is not None and to is not Format.DPO:
        raise UserError("--min-margin: only --to dpo has pairs; leave it out")
    if tokenizer is not None and to in (Format.HF, Format.OPENLONGCOT):
        raise UserError(f"--tokenizer: --to {to} needs none; leave it out")
    from llamao1_cli.export import commands

    newest = last or 0
    if to is Format.HF:
        commands.export_model(run, out, overwrite=overwrite)
    elif to is Format.OPENLONGCOT:
        commands.export_openlongcot(run, out, last=newest, overwrite=overwrite)
    else:
        commands.export_rows(
            run,
            to,
            out,
            last=newest,
            margin=MARGIN if min_margin is None else min_margin,
            tokenizer=tokenizer,
            overwrite=overwrite,
        )
