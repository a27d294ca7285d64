"""The weights of a network in a model's folder: one file, in which a tensor that several layers share stands once."""

from __future__ import annotations

import safetensors
import safetensors.torch
from torch import nn

from nlpseq.artefact import Artefact
from nlpseq.errors import ArtefactError, sentence

__all__ = ["WEIGHTS", "pack_weights", "unpack_weights"]

WEIGHTS = "weights.safetensors"


def pack_weights(model: nn.Module) -> bytes:
    """Return the content of the file."""
    first = _first_names(model)
    weights = {name: t.contiguous() for name, t in model.state_dict().items() if first.get(name, name) == name}
    return safetensors.torch.save(weights)


def unpack_weights(model: nn.Module, stored: Artefact) -> None:
    """Give a network, whose own weights may be on the meta device, those of a model's folder.

    Raises ArtefactError where they are not of the network's shapes.
    """
    first = _first_names(model)
    try:
        weights = safetensors.torch.load(stored.files[WEIGHTS])
        again = {name: origin for name, origin in first.items() if name != origin}
        model.load_state_dict(weights | {name: weights[origin] for name, origin in again.items()}, assign=True)
    except (KeyError, RuntimeError, safetensors.SafetensorError):
        must = "hold weights of the shapes that its settings give"
        raise ArtefactError(sentence(str(stored.directory), must, "others", quote=False)) from None
    for name, origin in again.items():
        layer, _, parameter = name.rpartition(".")
        setattr(model.get_submodule(layer), parameter, model.get_parameter(origin))


def _first_names(model: nn.Module) -> dict[str, str]:
    """Return for every parameter's name the first name of the same parameter."""
    seen: dict[int, str] = {}
    return {name: seen.setdefault(id(p), name) for name, p in model.named_parameters(remove_duplicate=False)}
