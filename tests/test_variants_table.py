"""The lines that docs/variants.md counts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

from variants_table import code_lines, parts

import zoo


def test_lines_of_code_are_neither_texts_nor_comments_nor_blank():
    module = '"""What it is.\n\nMore.\n"""\n\nimport math  # why\n\n\n'
    source = module + '# how\ndef f(x):\n    """It."""\n    return """a\nb"""\n'
    assert code_lines(source) == 4


def test_every_variant_has_a_row():
    rows = [line.split("`")[1] for line in parts().splitlines() if line.startswith("| `")]
    assert rows == [entry.name for entry in zoo.list_components("variant")]
