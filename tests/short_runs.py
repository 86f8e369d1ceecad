"""Short runs for tests."""

import zoo

QUICK = {"steps": 12, "batch_size": 8, "log_every": 4, "sample_every": 6, "checkpoint_every": 4}
NARROW = {"generator.width": 8, "critic.width": 8}


def quick(tmp_path, name="run", variant="wgan-gp", dataset="ring", **more):
    """A run of twelve steps, with a checkpoint at every fourth."""
    return zoo.train(
        variant, dataset=dataset, out=tmp_path, name=name, settings=NARROW, device="cpu", **{**QUICK, **more}
    )


def without_times(run):
    """Its metrics, as they are in every run of this recipe."""
    return [{k: v for k, v in row.items() if k not in ("time", "iterations_per_second")} for row in run.metrics]


def flipped(path, at=0.5):
    """Turns one bit of a file round."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)
