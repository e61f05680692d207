"""The key map between torchvision's ResNet and Detectron2's: one bijection, whose inverse is a table of dialects.py."""

import re

from superinfo.errors import EvidenceRefused

_TORCHVISION = re.compile(
    r"^(?:layer(?P<layer>[1-4])\.(?P<block>\d+)\.)?(?P<module>conv\d|bn\d|downsample\.[01])\.(?P<leaf>\w+)$"
)


def to_detectron2(key: str) -> str:
    """Map a torchvision key: `layer1.0.bn2.bias` -> `res2.0.conv2.norm.bias`.

    Raises EvidenceRefused for a key that no ResNet has.
    """
    if not (found := _TORCHVISION.match(key)):
        raise EvidenceRefused(f"tensor {key}: not in torchvision's ResNet layout")
    place = f"res{int(found['layer']) + 1}.{found['block']}" if found["layer"] else "stem"
    module = found["module"]
    if module.startswith("downsample"):
        unit = "shortcut" if module.endswith("0") else "shortcut.norm"
    else:
        unit = module if module.startswith("conv") else f"conv{module[2:]}.norm"
    return f"{place}.{unit}.{found['leaf']}"
