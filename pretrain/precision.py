"""The precision that a model computes in."""

from typing import Any, Literal

from lightning_fabric.plugins.precision import MixedPrecision, Precision


class Mixed(MixedPrecision):
    """Lightning's mixed precision, which leaves a model's inputs as they are.

    Lightning rounds them to half precision, yet views are also what terms paint; autocast rounds what a layer reads.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the data."""
        return data


def precision_of(name: Literal["32-true", "bf16-mixed", "16-mixed"], device: str) -> Precision:
    """Return the precision of that name, on `cpu` or `cuda`."""
    return Precision() if name == "32-true" else Mixed(name, device)
