"""The converter: an encoder's checkpoint to weights for a detector, with proof."""

from transfer.convert.export import convert

__all__ = ["convert"]
