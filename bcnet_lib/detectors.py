"""A ResNet of any widths as the backbone of a detector: RetinaNet or Faster R-CNN with FPN.

The feature pyramid reads the outputs of the ResNet's stages, and has 1x1 convolutions that bring
them to 256 channels. Those take the widths the network really has; all behind them is as in
torchvision. As usual for backbones that were trained on classification, BatchNorm is frozen, and
the stem and the first stage are not trained.
"""

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from .deploy import DeployError, ready

__all__ = ["DETECTORS", "costs_of", "detector", "freeze_batchnorm", "stage_channels"]

DETECTORS = ("retinanet", "faster_rcnn")
STAGES = ("layer1", "layer2", "layer3", "layer4")
_PARTS = ("layer4", "layer3", "layer2", "layer1", "conv1")  # in the order they become trainable
_CHANNELS = 256  # of the pyramid


def stage_channels(backbone: nn.Module) -> list[int]:
    """Channels that leave the four stages, counted by running it on a small image.

    Raises:
        ValueError: if it is no ResNet of torchvision's form.
    """
    if lacks := [name for name in STAGES if not hasattr(backbone, name)]:
        raise ValueError(
            f"{type(backbone).__name__} has no '{lacks[0]}': a backbone is a ResNet of torchvision "
            "(resnet18, resnet34, resnet50, …), of any widths"
        )
    body = IntermediateLayerGetter(copy.deepcopy(backbone), {name: name for name in STAGES})
    with torch.no_grad():
        out = body.cpu().eval()(torch.zeros(1, 3, 64, 64))
    return [out[name].shape[1] for name in STAGES]


def freeze_batchnorm(module: nn.Module) -> nn.Module:
    """Put the same map with fixed numbers in place of every BatchNorm; in place, and returned."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            fixed = FrozenBatchNorm2d(child.num_features, eps=child.eps)
            fixed.load_state_dict(child.state_dict())
            setattr(module, name, fixed.to(child.running_mean.device))
        else:
            freeze_batchnorm(child)
    return module


def detector(
    kind: str,
    backbone: nn.Module,
    classes: int,
    *,
    trainable: int = 3,
    frozen_batchnorm: bool = True,
    **options,
) -> nn.Module:
    """A detector around a trained network.

    Args:
        kind: ``"retinanet"`` or ``"faster_rcnn"``.
        backbone: a ResNet of torchvision, of any widths, trained; its classifier is not used. A
            copy goes into the detector.
        classes: without the background; labels are 1 … classes.
        trainable: how many of layer4, layer3, layer2, layer1 and the stem are trained, from the
            back.
        frozen_batchnorm: keep BatchNorm's statistics, scales and shifts as they are.
        options: of torchvision's ``RetinaNet`` or ``FasterRCNN``, such as ``min_size`` (of the
            shorter side of an image, pixels) and ``max_size``.
    Returns:
        a plain ``nn.Module`` of torchvision, in training mode: in training it takes images and
        targets and returns losses, in evaluation mode images, and returns boxes.
    Raises:
        ValueError: for an unknown kind, a backbone that is none or was not trained, or
            ``trainable`` outside 0..5.
    """
    if kind not in DETECTORS:
        raise ValueError(f"detector {kind!r} is none of {', '.join(DETECTORS)}")
    if not 0 <= trainable <= len(_PARTS):
        raise ValueError(f"trainable={trainable} must be in 0..{len(_PARTS)}")
    channels = stage_channels(backbone)
    try:
        backbone, _ = ready(copy.deepcopy(backbone).eval(), torch.zeros(1, 3, 64, 64))
    except DeployError as error:
        raise ValueError(f"the backbone was not trained: {error}") from error
    if frozen_batchnorm:
        freeze_batchnorm(backbone)
    learns = [*_PARTS[:trainable], *(["bn1"] if trainable == len(_PARTS) else [])]
    for name, p in backbone.named_parameters():
        p.requires_grad_(name.split(".")[0] in learns)
    if kind == "retinanet":  # without the first stage: too many anchors
        stages, top = STAGES[1:], LastLevelP6P7(_CHANNELS, _CHANNELS)
    else:
        stages, top = STAGES, LastLevelMaxPool()
    layers = {name: str(i) for i, name in enumerate(stages)}
    pyramid = BackboneWithFPN(backbone, layers, channels[-len(stages) :], _CHANNELS, top)
    make = RetinaNet if kind == "retinanet" else FasterRCNN
    return make(pyramid, num_classes=classes + 1, **options).train()


def costs_of(model: nn.Module, size: tuple[int, int] = (800, 1216)) -> dict[str, dict[str, int]]:
    """Parameters and MACs an image, by part: ``backbone``, ``pyramid``, ``heads`` and ``all``.

    Frozen numbers of BatchNorm are no parameters. MACs of Faster R-CNN's second stage are those of
    all the boxes it looks at in evaluation (1,000).

    Args:
        model: of ``detector``. size: height and width of the image as the network sees it, pixels.
    """
    meta = copy.deepcopy(model).to("meta").eval()
    image = torch.empty(1, 3, *size, device="meta")
    features, macs = {}, {}

    def count(part: str, run) -> None:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            features[part] = run()
        macs[part] = counter.get_total_flops() // 2

    def heads():
        if isinstance(meta, RetinaNet):
            return meta.head(list(features["pyramid"].values()))
        meta.rpn.head(list(features["pyramid"].values()))
        roi = meta.roi_heads
        side, n = roi.box_roi_pool.output_size, meta.rpn.post_nms_top_n()
        return roi.box_predictor(roi.box_head(torch.empty(n, _CHANNELS, *side, device="meta")))

    count("backbone", lambda: meta.backbone.body(image))
    count("pyramid", lambda: meta.backbone.fpn(features["backbone"]))
    count("heads", heads)
    numbers = {"backbone": model.backbone.body, "pyramid": model.backbone.fpn, "all": model}
    params = {k: sum(p.numel() for p in m.parameters()) for k, m in numbers.items()}
    params["heads"] = params["all"] - params["backbone"] - params["pyramid"]
    macs["all"] = sum(macs.values())
    return {
        k: {"params": params[k], "macs": macs[k]} for k in ("backbone", "pyramid", "heads", "all")
    }
