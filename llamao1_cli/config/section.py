"""What every section of the configuration is made of."""

import os
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


def _expanded(path: str) -> str:
    """Returns a path with its `~` and its environment variables replaced."""
    full = os.path.expandvars(os.path.expanduser(path))
    if missing := re.search(r"\$(\w+|\{\w+\})", full):
        raise ValueError(f"the environment variable {missing[1].strip('{}')} is not set; set it")
    if full.startswith("~"):
        raise ValueError("no such home folder is known; write the path in full")
    return full


ExpandedPath = Annotated[str, AfterValidator(_expanded)]


# Metadata of a field, and of all below it: when it may differ from what a run began with.
ANY_TIME: JsonDict = {"may_change": "any time"}  # it shows in none of the run's numbers
ON_RESUME: JsonDict = {"may_change": "on resume"}  # the numbers go on as they would have


class Section(BaseModel):
    """A section of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True, protected_namespaces=())
