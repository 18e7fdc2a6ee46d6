"""Search rules: which node of a tree grows next, and how far."""

from llamao1_cli.config import SearchConfig
from llamao1_cli.config.registry import SEARCH_RULES
from llamao1_cli.search.protocol import SearchRule


def configured_rule(config: SearchConfig) -> SearchRule:
    """Returns the rule that `search.algorithm` names, for one forest of trees."""
    rule: SearchRule = SEARCH_RULES[config.algorithm].load()(config)
    return rule
