"""Gates: whom to trust, photo by photo. A gate looks at a photo and weighs the K experts; the weights sum to one."""

from manyeyes.registry import Registry

GATES = Registry(
    "gates",
    {
        "cnn": "manyeyes.gates.cnn:CnnGate",
        "embedding": "manyeyes.gates.embedding:EmbeddingGate",
        "constant": "manyeyes.gates.constant:ConstantGate",
        "uniform": "manyeyes.gates.uniform:UniformGate",
    },
)
