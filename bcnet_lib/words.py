"""Names that a user types: the function one stands for, and what a mistyped one may have meant."""

import difflib
from collections.abc import Callable, Iterable
from importlib import import_module

from torch import nn

__all__ = ["function_of", "meant"]


def function_of(name: str, what: str, error: type[Exception]) -> Callable:
    """The function that ``package.module:function`` names.

    Args:
        what: "network" or "data", for the message.
        error: raised if it cannot be imported, whatever the user's module fails with, or is none.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except Exception as cause:
        raise error(
            f"{what} '{name}' cannot be imported ({cause}): name it as 'package.module:function', "
            "with the package installed or in the folder you start from"
        ) from cause
    if not callable(found) or isinstance(found, nn.Module):
        raise error(f"{what} '{name}' is a {type(found).__name__}, not a function that makes one")
    return found


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
