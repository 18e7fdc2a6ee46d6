"""The typed configuration of one run: one section a class, one sentence under every field."""

from llamao1_cli.config.evaluation import EvalConfig, StrategyName
from llamao1_cli.config.judges import (
    JudgeConfig,
    OmegaConfig,
    RewardConfig,
    ValueAdapterConfig,
    ValueHeadConfig,
)
from llamao1_cli.config.learn import LearnConfig, ReplayConfig, RestartsConfig
from llamao1_cli.config.model import BuildConfig, LoraConfig, ModelConfig, WarmupConfig
from llamao1_cli.config.play import EngineConfig, SearchConfig, SelfPlayConfig
from llamao1_cli.config.run import Config, RunConfig
from llamao1_cli.config.task import (
    ArithmeticTask,
    DataSource,
    DataTask,
    GradingConfig,
    PythonTask,
    ReasoningGymTask,
)

__all__ = [
    "ArithmeticTask",
    "BuildConfig",
    "Config",
    "DataSource",
    "DataTask",
    "EngineConfig",
    "EvalConfig",
    "GradingConfig",
    "JudgeConfig",
    "LearnConfig",
    "LoraConfig",
    "ModelConfig",
    "OmegaConfig",
    "PythonTask",
    "ReasoningGymTask",
    "ReplayConfig",
    "RestartsConfig",
    "RewardConfig",
    "RunConfig",
    "SearchConfig",
    "SelfPlayConfig",
    "StrategyName",
    "ValueAdapterConfig",
    "ValueHeadConfig",
    "WarmupConfig",
]
