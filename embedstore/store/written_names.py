"""Names of slides and patients in the texts and the JSON of a table."""

import json
import re
from collections.abc import Iterable


def written_names(names: Iterable[str]) -> tuple[re.Pattern[str], dict[str, str]]:
    """What finds names in a text, not inside of a word and the longest first, and {how it is written there: the name}.

    Args:
        names: At least one.
    """
    names = list(names)
    spelled = {json.dumps(name, ensure_ascii=False)[1:-1]: name for name in names} | {name: name for name in names}
    alternatives = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)"), spelled
