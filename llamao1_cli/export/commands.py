"""`llamao1 export`: trees as rows for other trainers, a checkpoint as a plain model folder."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import transformers

from llamao1_cli.config.file import load_config
from llamao1_cli.errors import UserError
from llamao1_cli.export.card import MARK, model_card
from llamao1_cli.export.model import plain_tokenizer, save_plain, trained_model
from llamao1_cli.export.rows import Row, dpo_rows, openlongcot_row, prm_rows, sft_rows
from llamao1_cli.export.spelling import Speller
from llamao1_cli.export.steps import problem_steps
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.language.choice import LanguageChoice
from llamao1_cli.language.marked import METAS
from llamao1_cli.language.protocol import Language
from llamao1_cli.report.display import Display
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees, tree_files

NOTHING = {
    "sft": "no tree holds a right solution",
    "dpo": "no two thoughts behind one path differ enough in what became of them",
    "prm": "no tree holds a solution that was graded",
}
CHAT_TREES = (
    "trees of a chat model are in its own words, which these rows have no form for; export the "
    "model with --to hf, or read the tree files themselves"
)


def export_openlongcot(source: Path, out: Path, *, last: int, overwrite: bool) -> None:
    """Write every tree as a line of marked text."""
    _check_file(out, overwrite)
    files = _tree_files(source, last)
    _write(out, [openlongcot_row(tree) for tree in _trees(files, None)], files)


def export_rows(
    source: Path,
    to: str,
    out: Path,
    *,
    last: int,
    margin: float,
    tokenizer: Path | None,
    overwrite: bool,
) -> None:
    """Write the rows of `to` (sft, dpo or prm) for the tokenizer of the model that grew the trees.

    Raises UserError if there are none.
    """
    _check_file(out, overwrite)
    files = _tree_files(source, last)
    language = _language(tokenizer or source)
    end = LanguageChoice().text_end(language.tokenizer)
    if end is None:
        raise UserError(f"--to {to}: {files[0].parent}: {CHAT_TREES}")
    speller = Speller(language, plain_tokenizer(language.tokenizer, end))
    made: list[Row | None] = []
    for problem in problem_steps(_trees(files, language)):
        if to == "sft":
            made += sft_rows(problem, speller)
        elif to == "dpo":
            made += dpo_rows(problem, speller, margin)
        else:
            made += prm_rows(problem, speller)
    if not made:
        raise UserError(f"{files[0].parent}: {NOTHING[to]}; take more trees, or of a later model")
    rows = [row for row in made if row is not None]
    if not rows:
        raise UserError(
            f"--to {to}: {language.tokenizer.name_or_path}: the tokenizer reads marked text "
            "otherwise than the tokens the model was trained on; only --to openlongcot is possible"
        )
    _write(out, rows, files, left_out=len(made) - len(rows))


def export_model(source: Path, out: Path, *, overwrite: bool) -> None:
    """Write the newest weights of a run as a plain model folder with its card, whole or not at
    all."""
    folder = RunFolder(source)
    if not folder.config.is_file():
        raise UserError(f"{source}: not a run folder (no config.yaml), and --to hf needs one")
    _check_folder(out, overwrite)
    config, checkpoint = load_config(folder.config, None), folder.latest()
    language_model = trained_model(config, checkpoint / "model")
    evaluations = _evaluations(folder, checkpoint)
    beside = out.absolute().with_name(f".{out.absolute().name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    dropped = save_plain(language_model, beside, config)
    chats = language_model.speaks.text_end(language_model.tokenizer) is None
    card = model_card(config, source.absolute().name, checkpoint.name, evaluations, chats=chats)
    (beside / "README.md").write_text(card, encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    beside.rename(out)
    display = Display()
    display.say(f"{out}: the model of {checkpoint}, with its tokenizer and model card")
    for what in dropped:
        display.say(f"dropped: {what}")


def _tree_files(source: Path, last: int) -> list[Path]:
    """Returns the newest `last` tree files of a run folder, or of a folder of tree files."""
    folder = RunFolder(source)
    return tree_files(folder.forest if folder.config.is_file() else source)[-last:]


def _trees(files: Iterable[Path], language: Language | None) -> Iterator[Tree]:
    """Yields the trees of all files; only those of one file are in memory. UserError for trees that
    are not in the marked language."""
    for file in files:
        trees = read_trees(file, language)
        if any(tree.joined for tree in trees):
            raise UserError(f"{file}: {CHAT_TREES}")
        yield from trees


def _language(source: Path) -> Language:
    """Returns the language of the tokenizer in a run's newest checkpoint, or in a model folder."""
    folder = RunFolder(source)
    model = folder.latest() / "model" if folder.config.is_file() else source
    if not (model / "tokenizer.json").is_file():
        raise UserError(
            f"{model}: holds no tokenizer.json; name the run or model folder that grew the trees "
            "with --tokenizer"
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    try:
        return LanguageChoice().make(tokenizer, METAS)
    except UserError:
        raise UserError(
            f"--tokenizer: {model} does not know the marked language; name a model that llamao1 "
            "saved"
        ) from None


def _evaluations(folder: RunFolder, checkpoint: Path) -> dict[int, dict[str, Any]]:
    """Returns the run's evaluations up to a checkpoint, by their iteration."""
    stage, _, number = checkpoint.name.partition("-")
    until = int(number) if stage == "iteration" else 0
    found = {}
    for iteration, file in folder.evaluations().items():
        if iteration <= until:
            try:
                found[iteration] = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{file}: not valid JSON: {error}") from None
    return found


def _write(out: Path, rows: list[Row], files: list[Path], left_out: int = 0) -> None:
    write_whole(out, "".join(json.dumps(row) + "\n" for row in rows))
    count = f"{len(files)} file{'s' * (len(files) > 1)} of trees"
    line = f"{out}: {len(rows)} rows from {count}"
    if left_out:
        line += f"; {left_out} left out, as they hold words that are special to the tokenizer"
    Display().say(line)


def _check_file(out: Path, overwrite: bool) -> None:
    check_writable("--out", out)
    if out.exists() and not overwrite:
        raise UserError(f"--out: {out} exists; add --overwrite, or name another file")


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder in use; only what an earlier export wrote is ever replaced."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    card = out / "README.md"
    if not card.is_file() or MARK not in card.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"--out: {out} holds other files; name another folder")
    if not overwrite:
        raise UserError(f"--out: {out} exists; add --overwrite, or name another folder")
