"""`zoo search` and `zoo catalogue`: what plugins exist, and the catalogue itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from zoo.cli.tables import as_json, catalogue_option, print_json, print_table
from zoo.index import Index
from zoo.variants import summary_of


@click.command()
@click.argument("text", nargs=-1)
@catalogue_option
@as_json
def search(text: tuple[str, ...], catalogue: tuple[str, ...], json_: bool) -> None:
    """Searches the catalogues for plugins: every word of TEXT must occur in what a plugin is or provides.

    Of installed plugins what their variants are is searched as well.

    \b
    Examples:
      zoo search
      zoo search gradient penalty
      zoo search pairs of images
      zoo search backbone --catalogue company.toml
    """
    from zoo.catalogue import read_catalogues

    index, words = Index.scan(), " ".join(text)
    told = _variants(index)
    more = {dist: " ".join(f"{name} {what}" for name, what in each.items()) for dist, each in told.items()}
    catalogues = read_catalogues(catalogue)
    found = catalogues.search(words, more)
    if not (found or json_) and (found := catalogues.nearest(words, more)):
        click.echo("No plugin matches all of these words; what matches most:", err=True)
    here = {entry.dist: entry.version for entry in [*index.entries, *index.disabled]}
    if json_:
        print_json([{**_table(entry), "installed": here.get(entry.name)} for entry in found])
    elif not found:
        click.echo("No plugin of the catalogue matches. 'zoo list variant' says what variants are for.", err=True)
    else:
        rows = [(e.name, here.get(e.name, "-"), _newest(e), e.catalogue, _summary(e)) for e in found]
        print_table(("PLUGIN", "INSTALLED", "NEWEST", "CATALOGUE", "WHAT IT IS"), rows)
        _print_variants(words, {entry.name: entry.summary for entry in found}, told)


def _print_variants(words: str, summaries: dict[str, str], told: dict[str, dict[str, str]]) -> None:
    """Those variants of the plugins that were found that have most of the words, in what they or their plugins are."""
    from zoo.catalogue.entries import words_in

    known = [(dist, name, what) for dist in summaries for name, what in told.get(dist, {}).items()]
    counts = [words_in(words, f"{name} {what} {summaries[dist]}") for dist, name, what in known]
    meant = [(name, what) for (_, name, what), count in zip(known, counts, strict=True) if count == max(counts) > 0]
    if meant:
        click.echo()
        print_table(("VARIANT", "WHAT IT IS"), meant)


def _variants(index: Index) -> dict[str, dict[str, str]]:
    """The summaries of installed variants, by plugin."""
    told: dict[str, dict[str, str]] = {}
    for entry in index.select("variant"):
        told.setdefault(entry.dist, {})[entry.name] = summary_of(entry.module, entry.name)
    return told


def _table(entry: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(entry)


def _newest(entry: Any) -> str:
    return entry.releases[-1].version if entry.releases else "source"


def _summary(entry: Any) -> str:
    return entry.summary if entry.status == "active" else f"({entry.status}: {entry.reason}) {entry.summary}"


@click.group()
def catalogue() -> None:
    """Checks a catalogue, and writes the table of a new plugin."""


@catalogue.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@as_json
def validate(file: Path | None, json_: bool) -> None:
    """Checks FILE (registry.toml of this project if none is given); exit code 1 if anything is wrong.

    Each mistake is named with line, plugin and field: the structure, the order, names that two plugins give, reserved
    names, owners, releases and their hashes.
    """
    from zoo.catalogue import default_path
    from zoo.catalogue.conventions import breaches
    from zoo.catalogue.files import described, tables_of, text_of
    from zoo.catalogue.schema import mistakes

    place = str(file or default_path())
    text = text_of(place)
    tables = tables_of(text, place)
    found = described(mistakes(tables) or breaches(tables), text, place)
    if json_:
        print_json(found)
    else:
        click.echo("\n".join(found) or f"{place}: {len(tables.get('plugin', []))} plugins, no mistake.")
    sys.exit(1 if found else 0)


@catalogue.command()
@click.argument("wheel", type=click.Path(path_type=Path))
@click.option("--owner", "owners", multiple=True, required=True, help="An account that answers for the plugin.")
@click.option("--repository", help="Where its source is, if its metadata does not say.")
@click.option("--check", is_flag=True, help="Run the conformance kit on it, and say what came of it.")
def entry(wheel: Path, owners: tuple[str, ...], repository: str | None, check: bool) -> None:
    """Prints the table that a catalogue needs for the plugin in WHEEL, its sha256 included.

    \b
    Example:
      zoo catalogue entry dist/zoo_mine-1.0-py3-none-any.whl --owner my-account
    """
    from zoo.cli.check import conforms, results_of
    from zoo.install.entry import table_of

    text = table_of(wheel, owners, repository)
    if check:
        text = table_of(wheel, owners, repository, conforms=conforms(results_of(str(wheel))[1]))
    click.echo(text, nl=False)
