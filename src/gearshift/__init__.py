"""Run one function over many inputs on whichever concurrency model is fastest for it.

Holds the public names only, each loaded when it is first used: `import gearshift`
stays light, and a program that only needs `gs.map` never pays for the rest.
"""

from __future__ import annotations

TYPE_CHECKING = (
    False  # type checkers take it for true; `typing` itself would add 10 ms to the import
)
if TYPE_CHECKING:
    from gearshift import engines as engines
    from gearshift._api.compare import compare as compare
    from gearshift._api.explain import explain as explain
    from gearshift._api.map import each as each
    from gearshift._api.map import map as map  # noqa: A004 - the built-in's name, for the built-in's job
    from gearshift._api.task import task as task
    from gearshift._run.journal import Journal as Journal
    from gearshift._run.journal import JournalSummary as JournalSummary
    from gearshift._run.progress import Progress as Progress
    from gearshift._run.run import Run as Run
    from gearshift._work.per_worker import PerWorker as PerWorker
    from gearshift._work.per_worker import per_worker as per_worker
    from gearshift._work.seeds import item_seed as item_seed
    from gearshift._work.shared import Shared as Shared
    from gearshift._work.shared import shared as shared
    from gearshift.errors import ChannelClosedError as ChannelClosedError
    from gearshift.errors import ChannelFullError as ChannelFullError
    from gearshift.errors import GearshiftError as GearshiftError
    from gearshift.errors import JournalError as JournalError
    from gearshift.errors import JournalInUseError as JournalInUseError
    from gearshift.errors import JournalMismatchError as JournalMismatchError
    from gearshift.errors import RemoteError as RemoteError
    from gearshift.errors import RunCancelledError as RunCancelledError
    from gearshift.errors import RunClosedError as RunClosedError
    from gearshift.errors import TaskTimeoutError as TaskTimeoutError
    from gearshift.errors import TransportError as TransportError
    from gearshift.errors import UnsupportedError as UnsupportedError
    from gearshift.errors import WorkerDiedError as WorkerDiedError
    from gearshift.facts import Failure as Failure
    from gearshift.facts import FailureKind as FailureKind
    from gearshift.facts import Rate as Rate
    from gearshift.facts import Report as Report
    from gearshift.facts import Retry as Retry
    from gearshift.jobs.download import download as download
    from gearshift.jobs.download.images import Images as Images
    from gearshift.jobs.download.record import DownloadError as DownloadError
    from gearshift.jobs.download.record import DownloadRecord as DownloadRecord
    from gearshift.plans import Pair as Pair
    from gearshift.plans import Plan as Plan
    from gearshift.plans import Profile as Profile
    from gearshift.plans import Stretch as Stretch
    from gearshift.streams import sources as sources
    from gearshift.streams.operators.stale import Stale as Stale
    from gearshift.streams.rx import from_rx as from_rx
    from gearshift.streams.stream import Stream as Stream
    from gearshift.streams.stream import stream as stream
    from gearshift.trials import Comparison as Comparison
    from gearshift.trials import Trial as Trial

__version__ = "0.1.0"

_HOMES = {
    "engines": "gearshift.engines",
    "sources": "gearshift.streams.sources",
    "Stale": "gearshift.streams.operators.stale",
    "ChannelClosedError": "gearshift.errors",
    "ChannelFullError": "gearshift.errors",
    "from_rx": "gearshift.streams.rx",
    "stream": "gearshift.streams.stream",
    "Stream": "gearshift.streams.stream",
    "explain": "gearshift._api.explain",
    "compare": "gearshift._api.compare",
    "each": "gearshift._api.map",
    "map": "gearshift._api.map",
    "task": "gearshift._api.task",
    "Journal": "gearshift._run.journal",
    "JournalSummary": "gearshift._run.journal",
    "Progress": "gearshift._run.progress",
    "Run": "gearshift._run.run",
    "PerWorker": "gearshift._work.per_worker",
    "per_worker": "gearshift._work.per_worker",
    "item_seed": "gearshift._work.seeds",
    "Shared": "gearshift._work.shared",
    "shared": "gearshift._work.shared",
    "GearshiftError": "gearshift.errors",
    "JournalError": "gearshift.errors",
    "JournalInUseError": "gearshift.errors",
    "JournalMismatchError": "gearshift.errors",
    "RemoteError": "gearshift.errors",
    "RunCancelledError": "gearshift.errors",
    "RunClosedError": "gearshift.errors",
    "TaskTimeoutError": "gearshift.errors",
    "TransportError": "gearshift.errors",
    "UnsupportedError": "gearshift.errors",
    "WorkerDiedError": "gearshift.errors",
    "Failure": "gearshift.facts",
    "FailureKind": "gearshift.facts",
    "Rate": "gearshift.facts",
    "Report": "gearshift.facts",
    "Retry": "gearshift.facts",
    "download": "gearshift.jobs.download",
    "Images": "gearshift.jobs.download.images",
    "DownloadError": "gearshift.jobs.download.record",
    "DownloadRecord": "gearshift.jobs.download.record",
    "Pair": "gearshift.plans",
    "Plan": "gearshift.plans",
    "Profile": "gearshift.plans",
    "Stretch": "gearshift.plans",
    "Comparison": "gearshift.trials",
    "Trial": "gearshift.trials",
}

__all__ = [
    "ChannelClosedError",
    "ChannelFullError",
    "Comparison",
    "DownloadError",
    "DownloadRecord",
    "Failure",
    "FailureKind",
    "GearshiftError",
    "Images",
    "Journal",
    "JournalError",
    "JournalInUseError",
    "JournalMismatchError",
    "JournalSummary",
    "Pair",
    "PerWorker",
    "Plan",
    "Profile",
    "Progress",
    "Rate",
    "RemoteError",
    "Report",
    "Retry",
    "Run",
    "RunCancelledError",
    "RunClosedError",
    "Shared",
    "Stale",
    "Stream",
    "Stretch",
    "TaskTimeoutError",
    "TransportError",
    "Trial",
    "UnsupportedError",
    "WorkerDiedError",
    "compare",
    "download",
    "each",
    "engines",
    "explain",
    "from_rx",
    "item_seed",
    "map",
    "per_worker",
    "shared",
    "sources",
    "stream",
    "task",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'gearshift' has no attribute {name!r}")
    from importlib import import_module  # the point of this function

    home = import_module(_HOMES[name])
    found: object = home if name in {"engines", "sources"} else getattr(home, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
