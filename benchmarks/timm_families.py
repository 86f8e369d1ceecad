"""Tries one model of each of timm's families as a backbone and as a critic, and writes docs/results/timm_families.md.

A family is a module of timm. Of each the smallest model is taken, by its parameters with the classifier, but for the
`test_` models, which nobody uses; where it does not work, the next two are tried. It is built with random weights as
the backbone `timm`, and as the critic `backbone-heads` it takes one WGAN-GP step of the trainer, whose gradient penalty
is differentiated twice. Images are 64x64, or what the model is built for. Every model has a process of its own, with
limits of CPU time and memory; what was tried is kept in a JSON file beside the table, and not tried again.

    nice -n 15 python benchmarks/timm_families.py           # what is missing
    python benchmarks/timm_families.py --only resnet --again
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch
from zoo_timm_backbones import TimmBackbone

import zoo
from zoo.api import compose_table
from zoo.trainer import Trainer

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs/results/timm_families.md"
KNOWN = TABLE.with_suffix(".json")
SIDE, BATCH, TRIES = 64, 4, 3
SECONDS, GIGABYTES = 90, 2.0
WAIT = 1800
"""Seconds by the clock after which a process is given up, whatever it does."""


def main() -> None:
    """Tries what is missing, a family at a time, and writes the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="families, by the names of timm's modules")
    parser.add_argument("--again", action="store_true", help="also what was tried before")
    arguments = parser.parse_args()
    _all(arguments.only, arguments.again)


def _all(only: list[str] | None, again: bool) -> None:
    torch.set_num_threads(1)
    known: dict[str, Any] = json.loads(KNOWN.read_text()) if KNOWN.is_file() else {}
    for family in timm.list_modules():
        if (only and family not in only) or (family in known and not again):
            continue
        known[family] = _family(family)
        print(f"{family:<28} {known[family]['model']:<40} {known[family]['reason'] or 'ok'}", flush=True)
        KNOWN.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        TABLE.write_text(_page(known))


def _family(family: str) -> dict[str, Any]:
    """The first of a family's smallest models that works, or what came of the smallest one."""
    sizes = _in_process(_sizes, family)
    if "reason" in sizes:
        return {"model": "", **sizes}
    if not sizes:
        return {"model": "", "reason": "no model of it can be built without its weights"}
    results = []
    for model, parameters in sorted(sizes.items(), key=lambda item: item[1])[:TRIES]:
        results.append({"model": model, "parameters": parameters, **_in_process(_tried, model)})
        if not results[-1]["reason"]:
            return results[-1]
    return results[0]


def _in_process(work: Callable[[str], dict[str, Any]], argument: str) -> dict[str, Any]:
    """What comes of work in a forked process of its own, or why nothing comes of it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_limited, args=(work, argument, sender))
    process.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv() if receiver.poll(WAIT) else {"reason": f"it does not end in {WAIT} s"}
    except EOFError:
        process.join()
        slow = process.exitcode == -signal.SIGXCPU
        found = {"reason": f"it takes more than {SECONDS} s" if slow else f"its process ends with {process.exitcode}"}
    process.kill()
    process.join()
    return found


def _limited(work: Callable[[str], dict[str, Any]], argument: str, sender: Connection) -> None:
    """Runs in the process: work within limits, whatever happens, and its result."""
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    limit = used + int(GIGABYTES * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    try:
        sender.send(work(argument))
    except Exception as error:
        said = _shortened(f"{type(error).__name__}: {error}")
        memory = isinstance(error, MemoryError) or "allocate" in said or "not enough memory" in said
        sender.send({"reason": f"it needs more than {GIGABYTES:g} GB" if memory else said})


def _sizes(family: str) -> dict[str, int]:
    """Parameters of a family's models, of those that can be built on the device `meta`, where nothing is computed."""
    sizes: dict[str, int] = {}
    for name in timm.list_models(module=family, exclude_filters="test_*"):
        try:
            with torch.device("meta"):
                network = timm.create_model(name)
        except Exception:
            network = None
        if network is None:  # Some compute with numbers while they are built.
            network = timm.create_model(name)
        sizes[name] = sum(p.numel() for p in network.parameters())
    return sizes


def _tried(model: str) -> dict[str, Any]:
    """Builds a model as a backbone and as a critic, and has the critic take a step."""
    start = time.process_time()
    torch.manual_seed(0)
    found = _stepped(model)
    return {"reason": "", **found, "seconds": round(time.process_time() - start, 1)}


def _stepped(model: str) -> dict[str, Any]:
    side = _side(model)
    data = zoo.ArrayDataset(torch.tanh(torch.randn(2 * BATCH, 3, SIDE, SIDE)))
    backbone = {"name": "timm", "model": model, "input_size": side or "none"}
    composition = compose_table(
        {
            "variant": "wgan-gp",
            "generator": {"name": "dcgan", "width": 4},
            "critic": {"name": "backbone-heads", "width": 8},
            "backbone": backbone,
            "train": {"steps": 1, "batch_size": BATCH, "critic_steps": 1},
        },
        device="cpu",
        given={"dataset": data},
    )
    critic = composition.networks["critic"]
    before = [_sums(p) for p in critic.parameters()]
    trainer = Trainer(composition)
    trainer.iterate()
    losses = trainer.flush()
    trainer.refuse_divergence()
    moved = sum(old != _sums(p) for old, p in zip(before, critic.parameters(), strict=True))
    assert moved, "no parameter of the critic moved"
    return {
        "stages": len(critic.backbone.stages),
        "side": side or SIDE,
        "moved": f"{moved}/{len(before)}",
        "penalty": round(losses["gradient-penalty"], 3),
    }


def _sums(parameter: Any) -> tuple[float, float]:
    """Tells whether a parameter changed, without a copy of it."""
    return parameter.detach().double().sum().item(), parameter.detach().double().square().sum().item()


def _side(model: str) -> int | None:
    """The side that images are resized to: None for their own where the model takes it, 64 if it is built for a size.

    Where that is no good, it is the model's own.
    """
    about = timm.get_pretrained_cfg(model)
    for side in (SIDE if about.fixed_input_size else None, max(about.input_size)):
        try:
            TimmBackbone((3, SIDE, SIDE), model=model, input_size=side)
        except Exception as error:
            last = error
        else:
            return side
    raise last


def _page(known: dict[str, Any]) -> str:
    works = sum(not each["reason"] for each in known.values())
    header = f"""# timm's families

`nice -n 15 python benchmarks/timm_families.py`: timm {timm.__version__}, torch {torch.__version__}, one thread of
{platform.machine()}. {works} of {len(known)} families work.

A family is a module of timm; of each stands the smallest model (by parameters, classifier included, `test_` models left
out), or the second or third smallest if that one works and the smallest does not. Weights are random. The model is
built as the backbone `timm`; as the critic `backbone-heads` it takes a WGAN-GP step of the trainer on {BATCH} images of
{SIDE}x{SIDE}, with the gradient penalty's double backward, in less than {SECONDS} s of CPU time and {GIGABYTES:g} GB.
"side" is what images are resized to: {SIDE} where the model takes it. "moved" counts the critic's parameters that the
step changed. It is written a family at a time, so that the table holds what has been tried so far.

| family | model | parameters | stages | side | moved | CPU seconds | |
|---|---|---|---|---|---|---|---|
"""
    return header + "".join(_row(family, each) for family, each in sorted(known.items()))


def _row(family: str, each: dict[str, Any]) -> str:
    said = each["reason"].replace("|", "/") or "ok"
    parameters = f"{each['parameters'] / 1e6:.1f} M" if "parameters" in each else "-"
    middle = " | ".join(str(each.get(key, "-")) for key in ("stages", "side", "moved", "seconds"))
    return f"| {family} | {each['model'] or '-'} | {parameters} | {middle} | {said} |\n"


def _shortened(text: str, length: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length] + " ..."


if __name__ == "__main__":
    main()
