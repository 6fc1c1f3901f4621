"""Which addresses more than one Service claims: an external IP and its port may stand in two of them.

An nftables map has one entry for each. A change to one such Service must look at all of them: what it gives up another
gets, and what it merely claims it must not take away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from proxy.rules import Fragment

Element = tuple[str, str]  # map, key


class Claims:
    """How many of the applied Services claim each map element."""

    def __init__(self) -> None:
        self._numbers: Counter[Element] = Counter()

    def contested(self, old: Collection[Fragment], new: Collection[Fragment]) -> list[str]:
        """Keys of elements that several claim before or after `new` takes the place of `old`. Costs their size."""
        before = {e for fragment in old for e in fragment.elements}
        after: Counter[Element] = Counter(e for fragment in new for e in fragment.elements)
        left = Counter({e: self._numbers[e] for e in before | after.keys()})
        found = {e for e, number in left.items() if number > 1}
        left.subtract(e for fragment in old for e in fragment.elements)
        left.update(after)
        return sorted(key for _, key in found | {e for e, number in left.items() if number > 1})

    def replace(self, old: Fragment, new: Fragment) -> None:
        """A Service's part was changed."""
        self._numbers.subtract(old.elements.keys())
        self._numbers.update(new.elements.keys())
        for element in old.elements:
            if not self._numbers[element]:
                del self._numbers[element]
