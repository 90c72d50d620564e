"""Options of searches that count something."""

import operator

__all__ = ["whole"]


def whole(name: str, value, least: int = 1) -> int:
    """An option that must be a whole number, as an ``int``; NumPy's integers are some too.

    Args:
        name: of the option, for the message. least: smallest value it may have.
    Raises:
        ValueError: if it is none, or below the least.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return number
