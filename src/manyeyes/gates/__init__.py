"""Gates: whom to trust, photo by photo. A gate looks at a photo and weighs the K experts; the weights sum to one."""

from manyeyes.registry import Registry

GATES = Registry(
    "gates",
    {
        "uniform": "manyeyes.gates.uniform:UniformGate",
        "constant": "manyeyes.gates.constant:ConstantGate",
        "embedding": "manyeyes.gates.embedding:EmbeddingGate",
        "cnn32": "manyeyes.gates.cnn:CnnGate32",
        "cnn64": "manyeyes.gates.cnn:CnnGate64",
    },
)
