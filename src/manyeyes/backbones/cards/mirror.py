"""Every net that reaches a machine with only a package mirror: the lite zoo, and larger or less clearly licensed ones."""

from manyeyes.backbones.cards.lite import LITE

MIRROR = (*LITE,)
