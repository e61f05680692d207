"""Reading images for Detectron2."""

from typing import Any

from detectron2.data import DatasetMapper
from detectron2.data.detection_utils import SizeMismatchError

from superinfo.errors import UserError


class Mapper(DatasetMapper):  # type: ignore[misc]  # Detectron2 has no types
    """Detectron2's mapper, which names the file when an image cannot be read."""

    def __call__(self, dataset_dict: dict[str, Any]) -> Any:
        """Read and augment one image. Raises UserError if it is missing or broken."""
        try:
            return super().__call__(dataset_dict)
        except SizeMismatchError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{dataset_dict['file_name']}: not of the size that the json says ({reason})") from None
        except (OSError, SyntaxError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{dataset_dict['file_name']}: not a readable image ({reason}); replace it") from None
