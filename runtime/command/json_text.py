"""JSON as it is printed for people's programs: the one door through which results go."""

import json
import math
from typing import Any


def json_text(content: Any, indent: int | None = 2) -> str:
    """Return `content` as JSON, what is not finite in it as null: NaN and Infinity are no JSON, and most readers
    refuse the whole text for one of them.
    """
    return json.dumps(finite(content), indent=indent, allow_nan=False)


def finite(content: Any) -> Any:
    """Return the same values with None in the place of floats that are not finite, tuples as lists."""
    if isinstance(content, dict):
        return {key: finite(item) for key, item in content.items()}
    if isinstance(content, list | tuple):
        return [finite(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
