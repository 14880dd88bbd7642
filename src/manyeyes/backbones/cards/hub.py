"""Cards whose weights timm publishes on a hub: the paper's five backbones, and small modern ones.

Preprocessing and licences are those of timm's own record of the weights; dimension and GMACs are measured.
"""

from manyeyes.backbones.card import HALF, Card, Preprocessing

_VGG = "https://arxiv.org/abs/1409.1556"
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

PAPER = (
    Card(
        name="vgg16.tv_in1k",
        source="timm:vgg16.tv_in1k",
        architecture="vgg16",
        dimension=4096,
        preprocessing=Preprocessing(size=224, interpolation="bilinear"),
        labels="imagenet-1k",
        macs=15.47,
        licence="BSD-3-Clause",
        paper=_VGG,
    ),
    Card(
        name="vgg19.tv_in1k",
        source="timm:vgg19.tv_in1k",
        architecture="vgg19",
        dimension=4096,
        preprocessing=Preprocessing(size=224, interpolation="bilinear"),
        labels="imagenet-1k",
        macs=19.63,
        licence="BSD-3-Clause",
        paper=_VGG,
    ),
    Card(
        name="resnet50.tv_in1k",
        source="timm:resnet50.tv_in1k",
        architecture="resnet50",
        dimension=2048,
        preprocessing=Preprocessing(size=224, interpolation="bilinear"),
        labels="imagenet-1k",
        macs=4.09,
        licence="BSD-3-Clause",
        paper="https://arxiv.org/abs/1512.03385",
    ),
    Card(
        name="inception_v3.tf_in1k",
        source="timm:inception_v3.tf_in1k",
        architecture="inception_v3",
        dimension=2048,
        preprocessing=Preprocessing(size=299, mean=HALF, std=HALF),
        labels="imagenet-1k",
        macs=5.71,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/1512.00567",
    ),
    Card(
        name="legacy_xception.tf_in1k",
        source="timm:legacy_xception.tf_in1k",
        architecture="legacy_xception",
        dimension=2048,
        preprocessing=Preprocessing(size=299, crop=0.8975, mean=HALF, std=HALF),
        labels="imagenet-1k",
        macs=8.36,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/1610.02357",
    ),
)

MODERN = (
    Card(
        name="vit_small_patch14_dinov2.lvd142m",
        source="timm:vit_small_patch14_dinov2.lvd142m",
        architecture="vit_small_patch14_dinov2",
        dimension=384,
        preprocessing=Preprocessing(size=518, crop=1.0),
        macs=46.7,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/2304.07193",
    ),
    Card(
        name="vit_base_patch32_clip_224.datacompxl",
        source="timm:vit_base_patch32_clip_224.datacompxl",
        architecture="vit_base_patch32_clip_224",
        dimension=768,
        preprocessing=Preprocessing(size=224, crop=1.0, mean=_CLIP_MEAN, std=_CLIP_STD),
        macs=4.41,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/2103.00020",
    ),
    Card(
        name="vit_base_patch32_siglip_256.v2_webli",
        source="timm:vit_base_patch32_siglip_256.v2_webli",
        architecture="vit_base_patch32_siglip_256",
        dimension=768,
        preprocessing=Preprocessing(size=256, crop=0.9, mean=HALF, std=HALF),
        macs=5.74,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/2502.14786",
    ),
    Card(
        name="convnext_tiny.in12k_ft_in1k",
        source="timm:convnext_tiny.in12k_ft_in1k",
        architecture="convnext_tiny",
        dimension=768,
        preprocessing=Preprocessing(size=224, crop=0.95),
        labels="imagenet-1k",
        macs=4.46,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/2201.03545",
    ),
)
