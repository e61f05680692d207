"""A table too wide for its page, cut into panels that stand below one another."""

from collections.abc import Sequence
from itertools import groupby

from results.render.parts import Head


def cut_panels(heads: Sequence[Head], widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the indices of the heads of each panel, in order; the widths of a panel sum to at most `room`.

    A column and its differences stay together, even where they alone are wider; columns of one group stay together
    where the group fits.
    """
    panels: list[list[int]] = [[]]
    free = room
    for block in _blocks(heads, widths, room):
        width = sum(widths[k] for k in block)
        if width > free and panels[-1]:
            panels.append([])
            free = room
        panels[-1] += block
        free -= width
    return panels


def _blocks(heads: Sequence[Head], widths: Sequence[int], room: int) -> list[list[int]]:
    """Return what is not to be parted: groups that fit, and of others each column with its differences."""
    blocks: list[list[int]] = []
    for _, indices in groupby(range(len(heads)), lambda k: heads[k].group):
        group = list(indices)
        if sum(widths[k] for k in group) <= room and heads[group[0]].group:
            blocks.append(group)
        else:
            blocks += [list(pair) for _, pair in groupby(group, lambda k: heads[k].column)]
    return blocks
