"""Data sets: images bundled with scikit-learn and scikit-image, toy densities, and the user's own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo import Dataset, hookimpl
from zoo_datasets.arrays import array
from zoo_datasets.bundled import digits, faces
from zoo_datasets.densities import Gaussian1D, Grid, Mixture1D, Ring, SwissRoll
from zoo_datasets.folders import image_folder
from zoo_datasets.image_pairs import paired_folder, unpaired_folder
from zoo_datasets.stacked import stacked_digits
from zoo_datasets.torchvision_data import torchvision
from zoo_datasets.translations import digit_translation, texture_translation


@hookimpl
def dataset() -> Mapping[str, Callable[..., Dataset]]:
    """The data sets of this plugin."""
    return {
        "array": array,
        "digit-translation": digit_translation,
        "digits": digits,
        "faces": faces,
        "gaussian-1d": Gaussian1D,
        "grid": Grid,
        "image-folder": image_folder,
        "mixture-1d": Mixture1D,
        "paired-folder": paired_folder,
        "ring": Ring,
        "stacked-digits": stacked_digits,
        "swiss-roll": SwissRoll,
        "texture-translation": texture_translation,
        "torchvision": torchvision,
        "unpaired-folder": unpaired_folder,
    }
