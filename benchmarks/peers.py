"""torchgan 0.1.0 and torch-mimicry 0.1.16 against our trainer on their own networks, in an environment of their own.

Usage: python benchmarks/step.py --peers FOLDER    (this file is run by it, in that environment)

The environment is a venv in FOLDER that sees every package of the one it is made from, through a .pth file, so that
torch is not installed twice; the two peers are installed in it without their dependencies. Neither runs as it is on
today's torch; PATCHES says what was done. Nothing that costs them time was added: logs, pictures and checkpoints are
left out for both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import types
import unittest.mock
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

PACKAGES = ("torchgan==0.1.0", "torch-mimicry==0.1.16")
PATCHES = {
    "torchgan": (
        "pictures at the end of an epoch are left out (they call make_grid(range=...), which torchvision has removed)",
        "checkpoints, logs and its call of wget, a package that it asks for, are left out",
    ),
    "mimicry": (
        "tensorflow, which it imports for its metrics, is a stand-in that does nothing",
        "torch._six, which torch has removed, is a module with PY3 = True",
        "its checkpoint at the end of train() is left out",
    ),
}
REMARKS = {
    "torchgan": "its penalty is one norm over the whole batch, and takes an Adam step of its own: other, wrong maths",
    "mimicry": "the same maths as ours",
}
MIMICRY_GOALS = {"fp32 channels_last": 1.2, "bf16 channels_last": 2.5}
LR, BETAS, BATCH = 1e-4, (0.0, 0.9), 64
Row = dict[str, Any]
Measured = tuple[str, float, list[Row], list[tuple[str, float, float]]]


def measured(folder: Path, rounds: int) -> Iterator[Measured]:
    """For each peer its name, the control, a table and the goals (what, value, bound)."""
    python = prepare(folder)
    for peer in PATCHES:
        command = [python, __file__, peer, "--rounds", str(rounds)]
        environment = {**os.environ, "TENSORBOARD_LOGGING": "0", "VISDOM_LOGGING": "0", "CONSOLE_LOGGING": "0"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            print(f"\n{peer} could not be measured: {done.stderr.strip().splitlines()[-1]}")
            continue
        name, control, table, goals = json.loads(done.stdout.splitlines()[-1])
        print(f"\n{peer}: {REMARKS[peer]}. Patched: {'; '.join(PATCHES[peer])}.")
        yield name, control, table, goals


def prepare(folder: Path) -> str:
    """The Python of the peers' environment, which is made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        paths = {"base": str(folder), "platbase": str(folder)}
        site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        ours = [path for path in sys.path if "site-packages" in path or _is_source(path)]
        (site / "shared.pth").write_text("\n".join(ours) + "\n")
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", *PACKAGES]
        subprocess.run(pip, check=True)
        (folder / "ready").touch()
    return str(python)


def _is_source(path: str) -> bool:
    """Whether an entry of the path is there for an editable install, and is neither Python's own nor this folder."""
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parent)}
    return (
        path != ""
        and Path(path).is_dir()
        and not any(path == known or path.startswith(known + os.sep) for known in standard)
    )


def compare(peer: str, rounds: int) -> Measured:
    """One peer, in its environment."""
    import torch
    from counting import counted, matmul_peak
    from rounds import interleaved, ratio
    from step import FLAVOURS, rows, stepping

    from zoo.trainer import Trainer

    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        theirs, networks, critic_steps = PEERS[peer]()
        trainers = {
            f"ours, {name}": Trainer(_composition(*copy.deepcopy(networks), critic_steps, train))
            for name, train in FLAVOURS.items()
        }
        loops = {"naive": theirs(), "control": theirs(), **{name: stepping(t) for name, t in trainers.items()}}
        flops = {"naive": counted(theirs()).flops, "ours": counted(trainers["ours, fp32"].iterate).flops}
        times = interleaved(loops, rounds)
    peaks = {"fp32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}
    table = rows(times, flops, peaks)
    table[0]["loop"] = peer
    goals = (
        []
        if peer != "mimicry"
        else [
            (f"mimicry / ours, {name}", ratio(times, "naive", f"ours, {name}"), bound)
            for name, bound in MIMICRY_GOALS.items()
        ]
    )
    return f"{peer} (speeds are against it)", ratio(times, "control", "naive"), table, goals


def _composition(generator: Any, critic: Any, critic_steps: int, train: Mapping[str, Any]) -> Any:
    """Our trainer's side: a peer's networks as given modules."""
    from cases import Case, composition

    import zoo

    class Given(zoo.Generator):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.latent_dim = generator, getattr(generator, "nz", None) or generator.encoding_dims

        def forward(self, z: Any, condition: Any = None) -> Any:
            return self.network(z)

    class Judge(zoo.Critic):
        def __init__(self) -> None:
            super().__init__()
            self.network = critic

        def forward(self, samples: Any, condition: Any = None) -> Any:
            return self.network(samples).flatten()

    case = Case("given", (3, 32, 32), BATCH, critic_steps)
    return composition(case, given={"generator": Given(), "critic": Judge()}, **train)


def torchgan() -> tuple[Callable[[], Callable[[], object]], tuple[Any, Any], int]:
    """Its DCGAN, five critic steps: for even numbers its trainer takes half of what was asked."""
    sys.modules.setdefault("wget", types.ModuleType("wget"))
    losses, models, trainer = (importlib.import_module(f"torchgan.{name}") for name in ("losses", "models", "trainer"))
    import torch
    from cases import data

    critic_steps = 5
    shapes = [{"encoding_dims": 128, "step_channels": 64}, {"step_channels": 64, "batchnorm": False}]
    networks = (models.DCGANGenerator(**shapes[0]), models.DCGANDiscriminator(**shapes[1]))
    adam = {"name": torch.optim.Adam, "args": {"lr": LR, "betas": BETAS}}
    samples = data((3, 32, 32)).samples[: BATCH * critic_steps]
    labelled = torch.utils.data.TensorDataset(samples, torch.zeros(len(samples), dtype=torch.long))

    def make() -> Callable[[], object]:
        kinds = zip(("generator", "discriminator"), copy.deepcopy(networks), strict=True)
        built = trainer.Trainer(
            {name: {"name": lambda network=network: network, "optimizer": adam} for name, network in kinds},
            [
                losses.WassersteinGeneratorLoss(),
                losses.WassersteinDiscriminatorLoss(),
                losses.WassersteinGradientPenalty(),
            ],
            device=torch.device("cpu"),
            ncritic=critic_steps,
            epochs=1,
        )
        built.logger.logger_end_epoch.clear()
        built.save_model = lambda *arguments, **named: None
        loader = torch.utils.data.DataLoader(labelled, batch_size=BATCH, shuffle=True)
        return lambda: built(loader)

    return make, networks, critic_steps


def mimicry() -> tuple[Callable[[], Callable[[], object]], tuple[Any, Any], int]:
    """Its WGAN-GP ResNets for 32x32 images at 64 channels, one critic step as in our own case."""
    six: Any = types.ModuleType("torch._six")
    six.PY3 = True
    tensorflow = unittest.mock.MagicMock(__spec__=ModuleSpec("tensorflow", None))
    sys.modules.update({"torch._six": six, "tensorflow": tensorflow})
    nets = importlib.import_module("torch_mimicry.nets")
    training = importlib.import_module("torch_mimicry.training")
    import torch
    from cases import data

    critic_steps = 1
    networks = (nets.wgan_gp.WGANGPGenerator32(ngf=64), nets.wgan_gp.WGANGPDiscriminator32(ndf=64))
    samples = data((3, 32, 32)).samples
    labelled = torch.utils.data.TensorDataset(samples, torch.zeros(len(samples), dtype=torch.long))
    seldom = {"print_steps": 10**9, "vis_steps": 10**9, "log_steps": 10**9, "save_steps": 10**9}

    def make() -> Callable[[], object]:
        generator, critic = copy.deepcopy(networks)
        built = training.Trainer(
            netD=critic,
            netG=generator,
            optD=torch.optim.Adam(critic.parameters(), LR, betas=BETAS),
            optG=torch.optim.Adam(generator.parameters(), LR, betas=BETAS),
            n_dis=critic_steps,
            num_steps=1,
            dataloader=torch.utils.data.DataLoader(labelled, batch_size=BATCH, shuffle=True, drop_last=True),
            log_dir=tempfile.mkdtemp(dir="."),
            device=torch.device("cpu"),
            **seldom,
        )
        built._save_model_checkpoints = lambda step: None
        return built.train

    return make, networks, critic_steps


PEERS = {"torchgan": torchgan, "mimicry": mimicry}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(json.dumps(compare(arguments.peer, arguments.rounds)))


if __name__ == "__main__":
    main()
