"""Fitted estimators ↔ plain data: named arrays for safetensors, and a JSON tree that says how they belong together.

Only what is fitted (attributes that end in ``_``) and the parameters are kept. Reading back makes objects of registered
kinds only, so a file can name no other code to run.
"""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from manyeyes.errors import BundleError
from manyeyes.experts import EXPERTS
from manyeyes.fusion import FUSIONS
from manyeyes.gates import GATES
from manyeyes.gates.gate import Gate
from manyeyes.registry import Registry

Arrays = dict[str, np.ndarray[Any, Any]]
Tree = Any

_KINDS: dict[str, Registry] = {
    "expert": EXPERTS,
    "fusion": FUSIONS,
    "cascade": Registry("cascade", {"cascade": "manyeyes.fusion.cascade:Cascade"}),
    "panel": Registry("panel", {"panel": "manyeyes.experts.panel:ExpertPanel"}),
    "ridge": Registry("ridge", {"distances": "manyeyes.experts.distance_ridge:DistanceRidge"}),
}
_TEXT = {"U": np.str_, "O": np.object_}
# Opinions of the training photos serve other fits on the same photos, never a prediction; they are large.
_LEFT_OUT = {"out_of_fold_"}


def pack(value: Any, arrays: Arrays, path: str = "model") -> Tree:
    """The JSON tree of ``value``; its arrays are added to ``arrays`` under dotted paths.

    Raises BundleError for what is neither plain data nor a registered estimator or gate.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biuf":
            laid_out = _laid_out(value)
            # What several hold, such as the stages of a cascade, is kept once.
            place = next((known for known, array in arrays.items() if array is laid_out), path)
            arrays[place] = laid_out
            return {"array": place}
        return {"values": [pack(item, arrays, path) for item in value.tolist()], "dtype": value.dtype.kind}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [pack(item, arrays, f"{path}.{index}") for index, item in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": [[pack(key, arrays), pack(item, arrays, f"{path}.{key}")] for key, item in value.items()]}
    if isinstance(value, Gate):
        arrays |= {f"{path}.{name}": _laid_out(tensor.numpy()) for name, tensor in value.state_dict().items()}
        return {"gate": _name(GATES, value), "widths": value.widths, "path": path}
    if isinstance(value, BaseEstimator):
        for kind, registry in _KINDS.items():
            if name := _name(registry, value):
                fitted = {key: item for key, item in vars(value).items() if key.endswith("_") and key not in _LEFT_OUT}
                return {
                    kind: name,
                    "parameters": pack(value.get_params(deep=False), arrays, f"{path}.parameters"),
                    "fitted": {key: pack(item, arrays, f"{path}.{key}") for key, item in fitted.items()},
                }
    raise BundleError(f"{path} is a {type(value).__name__}, which cannot be kept in a bundle")


def unpack(tree: Tree, arrays: Arrays) -> Any:
    """What :func:`pack` was given. Raises BundleError for a tree that it cannot have made."""
    try:
        return _unpack(tree, arrays)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise BundleError(f"not a packed model: {error}") from None


def _unpack(tree: Tree, arrays: Arrays) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "values" in tree:
        return np.array([_unpack(item, arrays) for item in tree["values"]], dtype=_TEXT[tree["dtype"]])
    if "list" in tree:
        return [_unpack(item, arrays) for item in tree["list"]]
    if "tuple" in tree:
        return tuple(_unpack(item, arrays) for item in tree["tuple"])
    if "dict" in tree:
        return {_unpack(key, arrays): _unpack(item, arrays) for key, item in tree["dict"]}
    if "gate" in tree:
        gate: Gate = GATES[tree["gate"]](tree["widths"])
        prefix = tree["path"] + "."
        gate.load_state_dict(
            {name.removeprefix(prefix): torch.from_numpy(a) for name, a in arrays.items() if name.startswith(prefix)}
        )
        return gate.eval()
    (kind,) = tree.keys() & _KINDS.keys()
    estimator = _KINDS[kind][tree[kind]](**_unpack(tree["parameters"], arrays))
    for name, item in tree["fitted"].items():
        if not name.endswith("_") or name.startswith("_"):
            raise ValueError(f"{name!r} is not the name of a fitted attribute")
        setattr(estimator, name, _unpack(item, arrays))
    return estimator


def _laid_out(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """safetensors writes down an array's memory as it lies, and reads it as if its axes lay in order."""
    return np.asarray(array, order="C")


def _name(registry: Registry, value: object) -> str | None:
    return next((name for name in registry.names() if type(value) is registry[name]), None)
