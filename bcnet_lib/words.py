"""Words for messages: what somebody who mistyped a name may have meant."""

import difflib
from collections.abc import Iterable

__all__ = ["meant"]


def meant(given: str, known: Iterable[str]) -> str:
    """``"; did you mean 'digits'?"``, or nothing where no known name is near.

    Args:
        given: what was asked for; upper case, hyphens and underscores count little.
        known: names that exist. With ``package.function`` a colon is what is missing.
    """

    def plain(name: str) -> str:
        return name.lower().replace("-", "").replace("_", "")

    names = {plain(name): name for name in known}
    near = difflib.get_close_matches(plain(given), names, n=1, cutoff=0.7)
    if near:
        return f"; did you mean '{names[near[0]]}'?"
    module, dot, function = given.rpartition(".")
    if dot and all(part.isidentifier() for part in given.split(".")):
        return f"; did you mean '{module}:{function}'?"
    return ""
