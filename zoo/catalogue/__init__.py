"""Catalogues: what plugins exist, installed or not. The project's own is `registry.toml`."""

from zoo.catalogue.entries import Catalogue, CatalogueEntry, Release, Tested
from zoo.catalogue.sources import Catalogues, default_path, read_catalogue, read_catalogues

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "Catalogues",
    "Release",
    "Tested",
    "default_path",
    "read_catalogue",
    "read_catalogues",
]
