"""Runs tasks in this process, in processes of this machine or on a Dask cluster, by joblib; none stops the others."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from zoo.errors import MissingPackage, UsageError
from zoo.stopping import Stop

DASK = "dask://"
ATTEMPTS = 2
"""How often a task may kill its process before it is given up."""
WAIT = 20
"""Seconds that a cluster is waited for."""


class Task(Protocol):
    """Something to be done, in whichever process. It can be pickled."""

    @property
    def name(self) -> str:
        """A name that no other has, and a file may have."""

    def __call__(self) -> Any:
        """Its result; None if it was interrupted."""

    def failed(self, reason: str) -> Any:
        """Its result if it kills the process that it is done in."""


Begun: TypeAlias = Callable[[str], None]
Results: TypeAlias = Iterator[tuple[Any, Any]]


class SignedStop(Stop):
    """An end that workers are told of too: the first Ctrl-C lets what runs save itself.

    Args:
        sign: A file that tells the workers: what has not begun then is not to begin.
    """

    def __init__(self, sign: Path) -> None:
        super().__init__()
        self.sign = sign

    def want(self) -> None:
        """Asks for an end."""
        super().want()
        with contextlib.suppress(OSError):  # Without the sign a few more tasks are done.
            self.sign.touch()


STOP = "stop"
DIED = f"its process died {ATTEMPTS} times: it was killed (for want of memory, perhaps) or it crashed."


def attempt(task: Task, notes: Path) -> tuple[str, Any]:
    """A task's name and its result, None if the user wants an end; given up when it has killed its process too often.

    Args:
        task: What is done.
        notes: A folder in which it is noted how often the task was begun, and whether the user wants an end.
    """
    if (notes / STOP).exists():
        return task.name, None
    note = _note(task, notes)
    begun = int(note.read_text()) if note.is_file() else 0
    if begun >= ATTEMPTS:
        result = task.failed(DIED)
    else:
        notes.mkdir(parents=True, exist_ok=True)
        note.write_text(str(begun + 1))
        result = task()
    note.unlink(missing_ok=True)
    return task.name, result


def _note(task: Task, notes: Path) -> Path:
    return notes / f"{task.name}.begun"


@dataclass
class Executor:
    """Where tasks are done.

    Attributes:
        jobs: How many at once; on a cluster as many as it has workers.
        threads: How many threads each of them computes with; 0 where the cluster's owner decides.
        notes: A folder for notes on tasks that have begun, seen by all workers.
    """

    jobs: int
    threads: int
    notes: Path

    def __post_init__(self) -> None:
        self.stop = SignedStop(self.notes / STOP)
        """Whether the user wants an end."""

    def results(self, tasks: Sequence[Task], begun: Begun = lambda name: None) -> Results:
        """Each task with its result, as they come; fewer than there are if the user wants an end.

        Args:
            tasks: What is to be done.
            begun: Told the name of each task when its turn comes.
        """
        for task in tasks:
            if self.stop.wanted:
                return
            begun(task.name)
            result = task()
            if result is None:
                self.stop.want()
                return
            yield task, result

    def close(self) -> None:
        """Lets its processes go."""


@dataclass
class Pool(Executor):
    """Processes of this machine. One that dies takes the whole pool with it, which is made anew."""

    def results(self, tasks: Sequence[Task], begun: Begun = lambda name: None) -> Results:
        """See `Executor`."""
        left = {task.name: task for task in tasks}
        while left and not self.stop.wanted:
            started: list[str] = []
            for name, result in self._until_broken(list(left.values()), begun, started):
                yield left.pop(name), result
            for name in [name for name in started if name in left]:
                yield from self._on_its_own(left.pop(name))

    def _on_its_own(self, task: Task) -> Results:
        """A task that may be the one whose process died: alone, so that it can harm no other."""
        for _ in range(ATTEMPTS):
            if self.stop.wanted:
                return
            found = list(self._until_broken([task], lambda name: None, []))
            if found:
                yield task, found[0][1]
                return
        if not self.stop.wanted:
            _note(task, self.notes).unlink(missing_ok=True)
            yield task, task.failed(DIED)

    def _until_broken(self, tasks: Sequence[Task], begun: Begun, started: list[str]) -> Iterator[tuple[str, Any]]:
        """The names of tasks with their results, until all are there, a process dies or the user wants an end."""
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky.process_executor import BrokenProcessPool

        def turns() -> Iterator[Any]:
            for task in tasks:
                if self.stop.wanted:
                    return
                started.append(task.name)
                begun(task.name)
                yield delayed(attempt)(task, self.notes)

        try:
            with self._backend(parallel_config):
                parallel = Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
                for name, result in parallel(turns()):
                    if result is None:
                        self.stop.want()
                    else:
                        yield name, result
        except BrokenProcessPool:
            return
        except KeyboardInterrupt:
            self.stop.want()

    @contextlib.contextmanager
    def _backend(self, parallel_config: Any) -> Iterator[None]:
        # With one job joblib would do it in this process, which is not to die with it.
        with (
            warnings.catch_warnings(),
            parallel_config(backend="loky", n_jobs=max(2, self.jobs), inner_max_num_threads=self.threads),
        ):
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            yield

    def close(self) -> None:
        """Ends the processes."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=self.stop.wanted)


@dataclass
class Cluster(Pool):
    """Workers of a Dask cluster. It gives a task of a worker that dies to another one.

    Attributes:
        client: Connected to the scheduler.
    """

    client: Any = None

    @contextlib.contextmanager
    def _backend(self, parallel_config: Any) -> Iterator[None]:
        with parallel_config(backend="dask", client=self.client, wait_for_workers_timeout=WAIT):
            yield

    def close(self) -> None:
        """Parts from the cluster, which goes on."""
        self.client.close()


def executor_of(address: str, jobs: int, threads: int, notes: Path) -> Executor:
    """Where tasks are done.

    Args:
        address: Empty for this machine, or `dask://HOST:PORT`.
        jobs: How many at once on this machine; with 1 in this process.
        threads: How many threads each computes with on this machine.
        notes: A folder that all workers see.

    Raises:
        UsageError: There is no such executor, or the cluster cannot be used.
        MissingPackage: Dask is not installed.
    """
    if address:
        client = _connected(address)
        try:
            return Cluster(_workers(client, address), 0, notes, client=client)
        except BaseException:
            client.close()
            raise
    return Executor(1, threads, notes) if jobs == 1 else Pool(jobs, threads, notes)


def _connected(address: str) -> Any:
    if not address.startswith(DASK) or address == DASK:
        raise UsageError(f"there is no executor '{address}'; say dask://HOST:PORT, or leave it out for this machine.")
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingPackage("a Dask cluster needs Dask: pip install 'gan-zoo[dask]'.") from error
    try:
        client: Any = Client(address.removeprefix(DASK), timeout=WAIT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # A timeout is an OSError.
        raise UsageError(f"no Dask scheduler answers at {address}: {error}.") from error
    return client


def _workers(client: Any, address: str) -> int:
    """How many workers a cluster has. Raises UsageError if they cannot do the work as it must be done."""
    threads = list(client.nthreads().values())
    if not threads:
        raise UsageError(f"the cluster at {address} has no workers; start some: dask worker HOST:PORT --nthreads 1.")
    if max(threads) > 1:
        raise UsageError(
            f"a worker of the cluster at {address} has {max(threads)} threads; runs in one process would share their "
            "random numbers. Start workers with --nthreads 1, and more of them with --nworkers."
        )
    allowed = client.run_on_scheduler(_allowed_failures)
    if allowed < ATTEMPTS:
        raise UsageError(
            f"the scheduler at {address} gives a task up after {allowed} dead workers; "
            f"set distributed.scheduler.allowed-failures to {ATTEMPTS} or more."
        )
    return len(threads)


def _allowed_failures(dask_scheduler: Any) -> int:
    allowed: int = dask_scheduler.allowed_failures
    return allowed
