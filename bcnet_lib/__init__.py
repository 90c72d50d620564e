"""BCNet: search the widths of convolutional networks with one-shot supernets."""

from .principles import BC, UA, BCv2, Cyclic, WidthError

__version__ = "0.1.0"

__all__ = ["BC", "UA", "BCv2", "Cyclic", "WidthError"]
