# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of the farm: every case has its own, so that the far side can tell who came.

`<key>.farm.test` is what the case's policy names. `<key>.rival.test` is a neighbour on the very same address, and
`<key>.far.test` lives elsewhere; no policy names them, and both offer the same service.
"""

from typing import List, NamedTuple, Tuple

FARM, RIVAL, FAR = "farm.test", "rival.test", "far.test"
DOMAINS = (FARM, RIVAL, FAR)

_FARM4, _FAR4 = "185.199.110", "185.199.111"
_FARM6, _FAR6 = "2a04:4e42:600:", "2a04:4e42:700:"
ROUTER4, ROUTER6 = f"{_FARM4}.1", f"{_FARM6}:1"
NETS4 = (f"{_FARM4}.0/24", f"{_FAR4}.0/24")
NETS6 = (f"{_FARM6}:/64", f"{_FAR6}:/64")


class Place(NamedTuple):
    """Where a case's server is: its own addresses, and those that no policy names."""

    key: str
    own4: str
    own6: str
    far4: str
    far6: str
    aliases: Tuple[str, ...] = ()

    def name(self, domain: str) -> str:
        return f"{self.key}.{domain}"

    def names(self, domain: str) -> List[str]:
        return [f"{key}.{domain}" for key in (self.key, *self.aliases)]

    @property
    def own(self) -> List[str]:
        return [self.own4, self.own6]

    @property
    def far(self) -> List[str]:
        return [self.far4, self.far6]


def place(key: str, index: int, aliases: Tuple[str, ...] = ()) -> Place:
    """The place of the case with this number (0 to 199)."""
    n = 10 + index
    return Place(key, f"{_FARM4}.{n}", f"{_FARM6}:{n:x}", f"{_FAR4}.{n}", f"{_FAR6}:{n:x}", aliases)
