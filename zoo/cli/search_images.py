"""`zoo search-images`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli.tables import as_json, print_json, print_table
from zoo.layering import parse_assignment


@click.command("search-images")
@click.argument("backbone", metavar="BACKBONE|RUN")
@click.argument("query", type=click.Path(path_type=Path))
@click.option("--layer", required=True, help="Stage, or block inside it; zoo layers says by which to search.")
@click.option("--index", required=True, type=click.Path(path_type=Path), help="Folder of pictures that is searched.")
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(min=1), help="So many are found.")
@click.option(
    "--pool",
    default="average",
    show_default=True,
    type=click.Choice(["average", "max", "gem"]),
    help="How a feature map becomes features.",
)
@click.option(
    "--side", type=click.IntRange(min=1), help="Side of the images for a BACKBONE; 224 if not said. A RUN has its own."
)
@click.option("--grid", type=click.Path(path_type=Path), help="Save a picture of what was found to this PNG file.")
@click.option("--set", "assignments", multiple=True, metavar="AXIS.SETTING=VALUE", help="Change one setting.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--plugin", "files", multiple=True, type=click.Path(path_type=Path), help="Use a local Python file.")
@as_json
def search_images(
    backbone: str, query: Path, files: tuple[Path, ...], grid: Path | None, json_: bool, count: int, **options: Any
) -> None:
    """Finds the pictures of a folder that are most like the picture QUERY, by features of a layer.

    Features are compared by the cosine of the angle between them; a distance is 1 - cosine. All pictures are compared,
    by a matrix product, or by FAISS where it is installed and there are more than 50,000. A QUERY that lies in the
    folder is not found itself.

    \b
    Examples:
      zoo search-images timm:resnet18 photo.png --layer layer3 --index photos/ \\
          --set backbone.checkpoint=resnet18.safetensors --grid found.png
      zoo search-images runs/resnet18-digits-all-seed0 digit.png --layer layer4 --index digits/ -n 5 --json
    """
    from zoo.plugins import installed
    from zoo.tuning import image_search

    for file in files:
        installed().add_file(file)
    changes = [parse_assignment(text) for text in options.pop("assignments")]
    settings = {".".join(path): value for path, value in changes}
    index = options.pop("index")
    found = image_search.search_images(
        backbone, options.pop("layer"), index, query, n=count, settings=settings, **options
    )
    if grid is not None:
        image_search.save_found(grid, query, found)
    if json_:
        print_json([{**vars(each), "image": str(each.image)} for each in found])
    else:
        print_table(("DISTANCE", "IMAGE"), [(f"{each.distance:.4f}", each.image) for each in found])
        if grid is not None:
            click.echo(f"\n{grid}")
