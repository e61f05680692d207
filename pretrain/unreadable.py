"""Images that cannot be read: told, counted over all processes, and too many of them."""

from superinfo.datasets.images import ImageSet
from superinfo.errors import UserError
from superinfo.progress import say

Unreadable = dict[int, str]
"""Images that cannot be read, by index, and why."""
TOLD = 5
"""How many are named; more are only counted."""


class UnreadableImages:
    """The images of a set that gave their place to others so far, the same in every process."""

    def __init__(self, images: ImageSet, most: float) -> None:
        """Take the largest share of the images that may be unreadable."""
        self.images, self.most = images, most
        self.found: Unreadable = {}

    def news(self, unreadable: Unreadable) -> Unreadable:
        """Return those that are not known yet."""
        return {index: reason for index, reason in unreadable.items() if index not in self.found}

    def add(self, news: Unreadable, tell: bool) -> None:
        """Note some, and name the first few if asked to."""
        for index, reason in sorted(news.items()):
            self.found[index] = reason
            if tell and len(self.found) <= TOLD:
                more = "; more of them are only counted" if len(self.found) == TOLD else ""
                say(f"{reason}; skipped{more}")

    def retry(self, unreadable: Unreadable) -> None:
        """Note those of a former process that are unreadable still: somebody may have mended them."""
        for index, reason in unreadable.items():
            try:
                self.images[index]
            except UserError:
                self.found[index] = reason

    def too_many(self) -> UserError | None:
        """Return the error to raise if there are more than may be."""
        if len(self.found) <= self.most * len(self.images):
            return None
        what = f"{len(self.found)} of {len(self.images)} images cannot be read"
        one = next(iter(self.found.values()))
        return UserError(f"{what}, more than max_unreadable ({self.most:g}); mend or remove them, for one {one}")
