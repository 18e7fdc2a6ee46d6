"""The value function that a configuration asks for, and its trainer."""

from pathlib import Path

from accelerate import Accelerator
from transformers import PreTrainedModel

from llamao1_cli.config import ValueAdapterConfig, ValueHeadConfig
from llamao1_cli.language.protocol import Language
from llamao1_cli.model.packed_forward import check_packs
from llamao1_cli.seeds import derive_seed
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.adapter_training import AdapterTrainer
from llamao1_cli.value.features import FEATURES, UNRATED_FEATURES
from llamao1_cli.value.head import ValueHead
from llamao1_cli.value.head_training import HeadTrainer
from llamao1_cli.value.protocol import ValueFunction, ValueTrainer


def make_value_function(
    settings: ValueHeadConfig | ValueAdapterConfig | None,
    model: PreTrainedModel,
    language: Language,
    *,
    seed: int,
    micro_batch_tokens: int,
    weights: Path | None,
) -> ValueFunction | None:
    """Returns the value function saved in the model folder `weights`, else the one that the
    settings' `path` names, else an untrained one that depends on the run's `seed`; None without
    settings.

    Raises UserError for a saved one of another kind or size, a `path` without one, or a model that
    cannot carry one.
    """
    value_function: ValueFunction
    if settings is None:
        return None
    if isinstance(settings, ValueAdapterConfig):
        check_packs(model)
        value_function = ValueAdapter(
            model, language, settings.rank, value_seed(seed), max_tokens=micro_batch_tokens
        )
    else:
        value_function = head = untrained_head(settings, language, seed)
        if weights is None and settings.path is not None:
            head.load_judge(Path(settings.path))
    if weights is not None:
        value_function.load(weights)
    return value_function


def untrained_head(settings: ValueHeadConfig, language: Language, seed: int) -> ValueHead:
    """Returns a value head for thoughts in a language, which depends on the run's `seed`."""
    names = FEATURES if language.rates else UNRATED_FEATURES
    return ValueHead(settings.hidden_size, value_seed(seed), names)


def make_value_trainer(
    settings: ValueHeadConfig | ValueAdapterConfig | None,
    value_function: ValueFunction | None,
    accelerator: Accelerator,
) -> ValueTrainer | None:
    """Returns what trains the value function made from these settings; None if there is none."""
    if isinstance(value_function, ValueAdapter) and isinstance(settings, ValueAdapterConfig):
        return AdapterTrainer(value_function, settings, accelerator)
    if isinstance(value_function, ValueHead) and isinstance(settings, ValueHeadConfig):
        return HeadTrainer(value_function, settings)
    return None


def value_seed(seed: int) -> int:
    """Returns the seed of the value function's first weights in a run of this `seed`."""
    return derive_seed(seed, "value head")
