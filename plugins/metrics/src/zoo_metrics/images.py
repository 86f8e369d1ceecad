"""Features of images by large trained networks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from zoo import BadData, MissingPackage

BATCH = 64
REMEMBERED = 60_000
"""How many images' features are kept: a floor asks for the same real images again and again."""


class Network:
    """A network in evaluation mode, and the features that it gave.

    Args:
        features_of: From images `(N, channels, height, width)` in [-1, 1] to `(N, D)`.
    """

    def __init__(self, features_of: Callable[[Tensor], Tensor]) -> None:
        self._features_of = features_of
        self._known: dict[bytes, Tensor] = {}

    def features(self, images: Tensor) -> Tensor:
        """Float64 features `(N, D)`, on the CPU."""
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images.cpu().contiguous()]
        if len(self._known) > REMEMBERED:
            self._known.clear()
        new = list({key: place for place, key in enumerate(keys) if key not in self._known}.values())
        for start in range(0, len(new), BATCH):
            places = new[start : start + BATCH]
            with torch.no_grad():
                found = self._features_of(images[places].cpu())
            self._known.update(zip([keys[place] for place in places], found.flatten(1), strict=True))
        return torch.stack([self._known[key] for key in keys]).double()


def timm_network(shape: tuple[int, ...], model: str, weights: str, pretrained: bool) -> Network:
    """The last stage of timm's model, averaged over the pixels, by the backbone component `timm`.

    Raises:
        UnknownName: No plugin gives the backbone `timm`.
        BadSetting, BadData, IncompatibleParts: There is no such model, or no weights, or it does not take such images.
    """
    with torch.random.fork_rng(devices=[]):  # Without weights the network is random, but always the same.
        torch.default_generator.manual_seed(0)
        settings = {"model": model, "checkpoint": weights, "pretrained": pretrained and not weights, "freeze": "all"}
        try:
            backbone: nn.Module = zoo.create("backbone", "timm", shape=shape, **settings)
        except BadData as error:
            raise BadData(f"{error} (For a metric, backbone.checkpoint is its setting weights.)") from error
    backbone.eval()
    return Network(lambda images: backbone(images)[-1].mean(dim=(2, 3)))


def inception_network(weights: str) -> Network:
    """The 2048 features of the Inception network of published Frechet distances, by torch-fidelity.

    Raises:
        MissingPackage: torch-fidelity is not installed.
        BadData: The weights are missing, or are not that network's.
    """
    if importlib.util.find_spec("torch_fidelity") is None:
        raise MissingPackage("the features 'inception' need torch-fidelity: pip install 'zoo-metrics[inception]'.")
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    path = Path(weights).expanduser() if weights else _downloaded(URL_INCEPTION_V3)
    _check_weights(path)
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except RuntimeError as error:
        raise BadData(f"{path} does not hold the weights of torch-fidelity's Inception: {_first(error)}") from error
    return Network(lambda images: network(as_bytes(images))[0])


def as_bytes(images: Tensor) -> Tensor:
    """Images `(N, 1 or 3, H, W)` in [-1, 1] as uint8 `(N, 3, H, W)`: rounded, clipped, grey repeated."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def _downloaded(url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix="6726825d", progress=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise BadData(
                f"the weights of 'inception' are not at {path}, and cannot be downloaded ({_first(error)}). "
                f"Fetch {url} where there is a network, and say weights=FILE."
            ) from error
    return path


def _check_weights(path: Path) -> None:
    """Reads the file without running code that may be in it, because torch-fidelity would run it."""
    if not path.is_file():
        raise BadData(f"weights: there is no file {path}.")
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadData(f"{path} cannot be read as weights: {_first(error)}") from error
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise BadData(f"{path} does not hold weights: a dictionary of tensors.")


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
