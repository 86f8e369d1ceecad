"""Data sets: images bundled with scikit-learn and scikit-image, toy densities, and the user's own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Dataset, hookimpl
from zoo_datasets.arrays import array
from zoo_datasets.bundled import digits, faces
from zoo_datasets.densities import Gaussian1D, Grid, Mixture1D, Ring, SwissRoll
from zoo_datasets.folders import image_folder
from zoo_datasets.stacked import stacked_digits
from zoo_datasets.torchvision_data import torchvision


@hookimpl
def dataset() -> Mapping[str, Callable[..., Dataset]]:
    """The data sets of this plugin."""
    return {
        "array": array,
        "digits": digits,
        "faces": faces,
        "gaussian-1d": Gaussian1D,
        "grid": Grid,
        "image-folder": image_folder,
        "mixture-1d": Mixture1D,
        "ring": Ring,
        "stacked-digits": stacked_digits,
        "swiss-roll": SwissRoll,
        "torchvision": torchvision,
    }
