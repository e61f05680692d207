"""The converter: the encoder in anyone's checkpoint to weights for a detector or a library, with proof."""

from transfer.convert.export import convert

__all__ = ["convert"]
