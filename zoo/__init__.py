"""Every part of a GAN is a plugin: found by name, composed freely, trained by one generic trainer.

The public names are imported when they are first used, so that `import zoo` imports neither torch nor a plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.adversarial import Adversarial, critic_phase, generator_loss
    from zoo.api import create, list_components, resume, train
    from zoo.backbones import Backbone, Stage
    from zoo.batch import Batch
    from zoo.classifiers import Classifier
    from zoo.comparing.run import compare
    from zoo.components import (
        ArrayDataset,
        Critic,
        Dataset,
        Density,
        Distance,
        Generator,
        LipschitzConstraint,
        Objective,
        Translations,
        is_conditional,
    )
    from zoo.draws import Draws
    from zoo.errors import (
        BadData,
        BadSetting,
        IncompatibleParts,
        MissingPackage,
        SaveFailed,
        UnknownName,
        ZooError,
    )
    from zoo.hookspecs import hookimpl
    from zoo.images import is_picture, pixels, read_image
    from zoo.metrics import Better, Evidence, Metric, Sample
    from zoo.neural.distance import NeuralDistance, neural_distance
    from zoo.procedures import About, Layer, Parts, Phase, Procedure, Want
    from zoo.run import Run, load
    from zoo.samples import Samples, Scores, mean_over_patches
    from zoo.settings import Setting
    from zoo.tuning.transfer import transfer
    from zoo.tuning.tune import finetune
    from zoo.variants import Variant, read_variants

__version__ = "0.1.0"

_HOMES = {
    "zoo.adversarial": ("Adversarial", "critic_phase", "generator_loss"),
    "zoo.api": ("create", "list_components", "resume", "train"),
    "zoo.batch": ("Batch",),
    "zoo.classifiers": ("Classifier",),
    "zoo.comparing.run": ("compare",),
    "zoo.backbones": ("Backbone", "Stage"),
    "zoo.components": (
        "ArrayDataset",
        "Critic",
        "Dataset",
        "Density",
        "Distance",
        "Generator",
        "LipschitzConstraint",
        "Objective",
        "Translations",
        "is_conditional",
    ),
    "zoo.draws": ("Draws",),
    "zoo.errors": (
        "BadData",
        "BadSetting",
        "IncompatibleParts",
        "MissingPackage",
        "SaveFailed",
        "UnknownName",
        "ZooError",
    ),
    "zoo.hookspecs": ("hookimpl",),
    "zoo.images": ("is_picture", "pixels", "read_image"),
    "zoo.metrics": ("Better", "Evidence", "Metric", "Sample"),
    "zoo.neural.distance": ("NeuralDistance", "neural_distance"),
    "zoo.procedures": ("About", "Layer", "Parts", "Phase", "Procedure", "Want"),
    "zoo.run": ("Run", "load"),
    "zoo.samples": ("Samples", "Scores", "mean_over_patches"),
    "zoo.settings": ("Setting",),
    "zoo.tuning.transfer": ("transfer",),
    "zoo.tuning.tune": ("finetune",),
    "zoo.variants": ("Variant", "read_variants"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "About",
    "Adversarial",
    "ArrayDataset",
    "Backbone",
    "BadData",
    "BadSetting",
    "Batch",
    "Better",
    "Classifier",
    "Critic",
    "Dataset",
    "Density",
    "Distance",
    "Draws",
    "Evidence",
    "Generator",
    "IncompatibleParts",
    "Layer",
    "LipschitzConstraint",
    "Metric",
    "MissingPackage",
    "NeuralDistance",
    "Objective",
    "Parts",
    "Phase",
    "Procedure",
    "Run",
    "Sample",
    "Samples",
    "SaveFailed",
    "Scores",
    "Setting",
    "Stage",
    "Translations",
    "UnknownName",
    "Variant",
    "Want",
    "ZooError",
    "__version__",
    "compare",
    "create",
    "critic_phase",
    "finetune",
    "generator_loss",
    "hookimpl",
    "is_conditional",
    "is_picture",
    "list_components",
    "load",
    "mean_over_patches",
    "neural_distance",
    "pixels",
    "read_image",
    "read_variants",
    "resume",
    "train",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
