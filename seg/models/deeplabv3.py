"""DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) as in torchvision, without its auxiliary head (system R2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from seg.models import weights
from seg.models.segmenter import Segmenter, allow_single_values


class DeepLabV3(Segmenter):
    """A DeepLabV3 with a dilated backbone as encoder and atrous spatial pyramid pooling as decoder.

    Its logits are resized to the image. It takes images of any size from `Architecture.smallest` on.
    """

    prefix: ClassVar[str] = ""
    """The prefix of the encoder's tensors in torchvision's file of weights."""
    in_torchvision: ClassVar[str]
    """The model's name in torchvision."""

    def __init__(self, channels: int):
        from torchvision.models import get_model  # see seg.models.mobilenetv2

        super().__init__()
        random = {"weights": None, "weights_backbone": None}
        whole = get_model(self.in_torchvision, num_classes=channels, aux_loss=False, **random)
        self.encoder = whole.get_submodule("backbone")
        self.decoder = whole.get_submodule("classifier")
        allow_single_values(self.decoder)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        return [self.encoder(images_N3HW)["out"]]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        logits = self.decoder(*features)
        return F.interpolate(logits, images_N3HW.shape[-2:], mode="bilinear", align_corners=False)

    def load_encoder(self, path: Path) -> None:
        weights.load(self.encoder, path, self.prefix)


class DeepLabV3MobileNetV3(DeepLabV3):
    """A DeepLabV3 with MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244).

    It has 11,021,622 parameters with six classes.
    """

    prefix = "features."
    in_torchvision = "deeplabv3_mobilenet_v3_large"


class DeepLabV3ResNet50(DeepLabV3):
    """A DeepLabV3 with ResNet50 (He et al. 2016, arXiv:1512.03385)."""

    in_torchvision = "deeplabv3_resnet50"
