"""Which of the names that there are a misspelt one was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like another, whatever the case of its letters; None if none is near.

    One of the same letters comes first: `gial` is gail with two of them swapped, and by its ratio just as near to gtal.
    """
    folded = {each.lower(): each for each in known}
    swapped = [each for each in folded if sorted(each) == sorted(name.lower())]
    near = swapped or get_close_matches(name.lower(), folded, n=1)
    return folded[near[0]] if near else None
