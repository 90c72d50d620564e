"""Progress bars that a caller shows or hides, and that TQDM_DISABLE=1 hides everywhere."""

from tqdm.auto import tqdm

from . import distributed

__all__ = ["bar"]


def bar(*args, show: bool, **kwargs) -> tqdm:
    """A tqdm bar; of several processes the first one's. ``disable`` is given only to hide it:
    given, it would overrule TQDM_DISABLE."""
    show = show and distributed.is_first()
    return tqdm(*args, **kwargs, **({} if show else {"disable": True}))
