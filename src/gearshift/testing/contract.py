"""What every engine promises, one check a promise, for whoever writes one.

    from gearshift.testing import contract

    @pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyEngine)

An executor of `concurrent.futures` is checked as `OwnedEngine(executor)`.

A check makes a fresh engine, uses it through `gs.map`, through its lanes or as an
Executor, and shuts it down; it raises AssertionError where a promise is broken. What an
engine cannot do stands in its traits, and then the check asks for a clean refusal. So
every check runs on every engine, with coroutine functions where it takes nothing else.

One file, and so a long one: it is read as the list of promises that it is. What tasks
do stands in `_tasks`.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import CancelledError, Executor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import gearshift as gs
from gearshift.engines import Engine, Job, Lane, Wakeup
from gearshift.facts import Chunk, Returned, Settled, Traits
from gearshift.testing import _tasks as tasks
from gearshift.testing._bench import (
    Bench,
    MakeEngine,
    OwnedEngine,
    bench_of,
    equal,
    error_of,
    expect,
    helper,
    succeeds,
    until_error,
    values_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "CHECKS",
    "MakeEngine",
    "OwnedEngine",
    "check_a_fault_has_one_type_everywhere",
    "check_a_raised_error_ends_the_run_at_its_turn",
    "check_a_silent_asynchronous_source_gives_its_item_at_once",
    "check_a_silent_source_gives_its_item_at_once",
    "check_a_source_that_raises_gives_what_came_before",
    "check_an_exception_that_cannot_travel_is_charged_to_its_item",
    "check_an_item_that_cannot_travel_is_charged_to_itself",
    "check_an_unfinished_loop_leaves_the_engine_usable",
    "check_async_for_gives_the_same_and_blocks_no_loop",
    "check_big_items_and_values_arrive",
    "check_cancel_from_another_thread_ends_the_run",
    "check_context_variables_are_each_tasks_own_copy",
    "check_contrary_items_and_values_are_carried",
    "check_coroutine_functions_run",
    "check_each_worker_has_one_tool_and_closes_it",
    "check_each_worker_has_one_tool_of_an_async_factory_and_closes_it",
    "check_errors_are_returned_or_skipped",
    "check_every_kind_of_callable_runs",
    "check_for_works_inside_a_running_loop",
    "check_lanes_give_back_what_is_revoked",
    "check_lanes_keep_news_until_acknowledged",
    "check_leaving_with_leaves_nothing_running",
    "check_many_items_in_chunks",
    "check_no_inputs_no_outputs",
    "check_nothing_runs_before_the_first_value_is_asked_for",
    "check_one_engine_serves_several_runs",
    "check_resize_changes_the_workers",
    "check_results_that_cannot_travel_are_charged_to_their_item",
    "check_retries_are_counted_and_waited_for",
    "check_runs_nest",
    "check_seeds_depend_on_seed_and_index_alone",
    "check_shutdown_leaves_nothing",
    "check_star_spreads_tuples_and_dicts",
    "check_starts_keep_to_the_limit",
    "check_task_timeout_ends_a_task_or_is_refused",
    "check_tasks_see_what_is_shared",
    "check_the_executor_face_cancels_what_waits",
    "check_the_executor_face_gives_results_and_exceptions",
    "check_the_report_counts",
    "check_the_source_is_taken_lazily_in_the_callers_thread",
    "check_things_of_main_travel",
    "check_traits_are_coherent",
    "check_two_runs_share_an_engine",
    "check_two_threads_cannot_iterate_one_run",
    "check_unordered_gives_each_value_once",
    "check_values_keep_their_order_when_the_first_is_slowest",
]

_PATIENCE_SECONDS = tasks.DEADLINE_SECONDS


def check_values_keep_their_order_when_the_first_is_slowest(make_engine: MakeEngine) -> None:
    """Values come in the order of the inputs, whoever is done first."""
    with bench_of(make_engine) as bench:
        gate = bench.gate()
        roles = ["wait", "", "", "open"] if bench.workers > 1 else ["", "", "", ""]
        items = [(number, role, gate) for number, role in enumerate(roles)]
        equal(list(bench.map(tasks.open_or_pass, items, chunksize=1)), [0, 1, 2, 3], "values")


def check_unordered_gives_each_value_once(make_engine: MakeEngine) -> None:
    """With `ordered=False` values come as they are ready, each once."""
    with bench_of(make_engine) as bench:
        gate = bench.gate()
        items = [(0, "wait", gate), (1, "", gate), (2, "", gate)]
        if bench.workers == 1:
            gate.open()  # nobody else would
        got = []
        for value in bench.map(tasks.open_or_pass, items, chunksize=1, ordered=False):
            got.append(value)
            gate.open()
        equal(sorted(got), [number for number, *_ in items], "values, sorted")
        expect(bench.workers == 1 or got[0] != 0, f"item 0 was waited for: {got}")
        many = bench.map(tasks.square, range(1000), ordered=False)
        equal(Counter(many), Counter(number * number for number in range(1000)), "values, counted")


def check_many_items_in_chunks(make_engine: MakeEngine) -> None:
    """Thousands of trivial items, in chunks of any length, of any number of iterables."""
    with bench_of(make_engine) as bench:
        wanted = [number * number for number in range(3000)]
        equal(list(bench.map(tasks.square, range(3000))), wanted, "values")
        for length in (1, 7, 5000):
            got = list(bench.map(tasks.square, iter(range(200)), chunksize=length))
            equal(got, wanted[:200], f"values with chunksize={length}")
        equal(
            list(bench.map(tasks.add, range(9), range(1, 6))),
            [1, 3, 5, 7, 9],
            "sums of two iterables",
        )


def check_no_inputs_no_outputs(make_engine: MakeEngine) -> None:
    """No inputs are no error."""
    with bench_of(make_engine) as bench:
        equal(list(bench.map(tasks.square, [])), [], "values of []")
        equal(list(bench.map(tasks.square, iter(()))), [], "values of an empty iterator")


def check_big_items_and_values_arrive(make_engine: MakeEngine) -> None:
    """Items and values of megabytes get through, more of them than a pipe holds."""
    with bench_of(make_engine) as bench:
        items = [bytes([number]) * 2_000_000 for number in range(6)]
        expect(list(bench.map(tasks.same, items)) == items, "items of 2 MB came back different")


# Failures


def check_a_raised_error_ends_the_run_at_its_turn(make_engine: MakeEngine) -> None:
    """What comes before a failure is given, then its exception is raised, with its traceback and a note."""
    with bench_of(make_engine) as bench:
        for length in (None, 1, 5):
            values, error = until_error(
                bench.map(partial(tasks.fail_at_three, "ValueError"), range(100), chunksize=length)
            )
            equal(values, [0, 1, 2], f"values before the failure, chunksize={length}")
            equal(type(error), ValueError, "type of the exception")
            equal(str(error), "three is not allowed", "its message")
            notes = getattr(error, "__notes__", [])
            equal(len(notes), 1, f"number of its notes, {notes}")
            expect(
                notes[0].startswith(f"gearshift: item 3 (3) on engine {bench.name}"),
                f"its note does not say which item it was, and where: {notes[0]!r}",
            )
            expect(
                "_fail_inside" in tasks.text_of(error),
                "its traceback lacks the function's own frames",
            )


def check_errors_are_returned_or_skipped(make_engine: MakeEngine) -> None:
    """With "return" a `Failure` stands at a failed item's place, with "skip" nothing; the report has both."""
    with bench_of(make_engine) as bench:
        function = partial(tasks.fail_at_three, "ValueError")
        for ordered in (True, False):
            run = bench.map(function, range(6), errors="return", ordered=ordered)
            outcomes = list(run)
            failures = [outcome for outcome in outcomes if isinstance(outcome, gs.Failure)]
            equal(len(failures), 1, f"failures among {outcomes}")
            failure = failures[0]
            if ordered:
                expect(outcomes[3] is failure, f"the failure is not at its place: {outcomes}")
            equal(
                (failure.index, failure.item, failure.attempts), (3, 3, 1), "index, item, attempts"
            )
            equal(type(failure.exception), ValueError, "type of the exception")
            equal(run.report.failures, (failure,), "failures of the report")
            skipped = bench.map(function, range(6), errors="skip", ordered=ordered)
            equal(sorted(skipped), [0, 1, 2, 4, 5], "values without the failed item")
            equal(
                [failure.index for failure in skipped.report.failures],
                [3],
                "failures that were skipped",
            )


def check_a_fault_has_one_type_everywhere(make_engine: MakeEngine) -> None:
    """The type of a failure does not depend on the engine, and only its item fails."""
    wanted: dict[str, type[BaseException]] = {
        "ValueError": ValueError,
        "KeyError": KeyError,
        "TimeoutError": TimeoutError,
        "StopIteration": RuntimeError,  # would silently end the caller's loop
        "StopAsyncIteration": RuntimeError,
        "SystemExit": SystemExit,
        "GeneratorExit": GeneratorExit,
        "OddExit": tasks.OddExit,
        "CancelledError": asyncio.CancelledError,
        "ContraryError": tasks.ContraryError,
    }
    with bench_of(make_engine) as bench:
        for fault, kind in wanted.items():
            run = bench.map(
                partial(tasks.fail_at_three, fault), range(5), errors="return", chunksize=5
            )
            outcomes = list(run)
            equal(values_of(outcomes), [0, 1, 2, 4], f"values beside a {fault}")
            equal(type(outcomes[3].exception), kind, f"type of a task's {fault}")
            values, error = until_error(
                bench.map(
                    partial(tasks.fail_at_three, fault), range(5), retries=gs.Retry(1, wait=0)
                )
            )
            equal(
                (values, type(error)),
                ([0, 1, 2], kind),
                f"values and type of a {fault} that is raised",
            )


def check_contrary_items_and_values_are_carried(make_engine: MakeEngine) -> None:
    """Items and values need not be comparable, hashable or measurable, nor have a `repr`."""
    with bench_of(make_engine) as bench:
        items = [tasks.Contrary() for _ in range(5)]
        values = list(bench.map(tasks.same, items))
        equal([type(value) for value in values], [tasks.Contrary] * 5, "types of values")
        (failure,) = bench.map(partial(tasks.fail_at_three, "ValueError"), [3], errors="return")
        equal(failure.item, 3, "item of a failure")
        (failure,) = bench.map(tasks.add, items[:1], errors="return")
        equal(type(failure.exception), TypeError, "type of the exception of an item without repr")


def check_results_that_cannot_travel_are_charged_to_their_item(make_engine: MakeEngine) -> None:
    """A result that cannot be pickled, or not be rebuilt, fails its own item; without pickling it just arrives."""
    with bench_of(make_engine) as bench:
        for function in (tasks.lock_at_three, tasks.unbuildable_at_three):
            for length in (1, 5):
                run = bench.map(function, range(5), errors="return", chunksize=length)
                _check_third(bench, list(run), gs.TransportError)


def check_an_exception_that_cannot_travel_is_charged_to_its_item(make_engine: MakeEngine) -> None:
    """An exception that pickle cannot take, or not rebuild, keeps its type; only what it holds may be missing."""
    with bench_of(make_engine) as bench:
        kinds = {
            "LockedError": tasks.LockedError,
            "TwoPartError": tasks.TwoPartError,
            "FrozenError": tasks.FrozenError,
        }
        for fault, kind in kinds.items():
            run = bench.map(
                partial(tasks.fail_at_three, fault), range(5), errors="return", chunksize=5
            )
            outcomes = list(run)
            equal(values_of(outcomes), [0, 1, 2, 4], f"values beside a {fault}")
            error = outcomes[3].exception
            equal(type(error), kind, f"type of {fault}")
            expect("three" in str(error), f"its message is lost: {error}")
            expect(fault in tasks.text_of(error), f"its type is not told: {tasks.text_of(error)}")
            expect(
                "_fail_inside" in tasks.text_of(error),
                "its traceback lacks the function's own frames",
            )


def check_an_item_that_cannot_travel_is_charged_to_itself(make_engine: MakeEngine) -> None:
    """An item that cannot be pickled, or not be rebuilt, fails alone; without pickling it just arrives."""
    with bench_of(make_engine) as bench:
        for odd in (threading.Lock(), tasks.Unbuildable()):
            for length in (1, 5):
                items = [0, 1, 2, odd, 4]
                outcomes = list(
                    bench.map(tasks.type_name, items, errors="return", chunksize=length)
                )
                equal(values_of(outcomes[:3] + outcomes[4:]), ["int"] * 4, "values beside it")
                _check_third(bench, [0, 1, 2, outcomes[3], 4], gs.TransportError)
        lock = threading.Lock()
        function = partial(tasks.add, lock)  # type: ignore[arg-type]
        if bench.traits.pickles:
            _, error = until_error(bench.map(function, range(3)))
            equal(
                type(error),
                gs.TransportError,
                "type of the error of a function that cannot be pickled",
            )
            expect("add" in str(error), f"it does not name the function: {error}")


def check_retries_are_counted_and_waited_for(make_engine: MakeEngine) -> None:
    """A failed item is tried again after its wait, as often as asked, and only for the exceptions asked."""
    with bench_of(make_engine) as bench:
        log = bench.log()
        retry = gs.Retry(3, wait=0.02, jitter=0)
        run = bench.map(partial(tasks.fail_at_first, log, 2), [7], retries=retry)
        equal((list(run), run.report.retried), ([7], 2), "values and retries")
        begun = [float(line) for line in log.lines]
        equal(len(begun), 3, "calls")
        for before, after, least in zip(begun, begun[1:], (0.02, 0.04), strict=False):
            expect(
                after - before >= least, f"tried again after {after - before} s, asked for {least}"
            )
        run = bench.map(
            partial(tasks.fail_at_first, bench.log(), 9),
            [7],
            retries=gs.Retry(2, wait=0),
            errors="return",
        )
        (failure,) = run
        equal((type(failure.exception), failure.attempts), (OSError, 3), "exception and attempts")
        expect("after 3 attempts" in tasks.text_of(failure.exception), "the note tells no attempts")
        other = gs.Retry(2, wait=0, on=(KeyError,))
        run = bench.map(
            partial(tasks.fail_at_first, bench.log(), 9), [7], retries=other, errors="return"
        )
        equal(
            [failure.attempts for failure in run],
            [1],
            "attempts for an exception that is not asked for",
        )
        mixed = bench.map(
            partial(tasks.fail_at_first, bench.log(), 1),
            range(20),
            retries=gs.Retry(1, wait=0),
            chunksize=20,
        )
        equal(list(mixed), list(range(20)), "values where one item was tried again")


def check_task_timeout_ends_a_task_or_is_refused(make_engine: MakeEngine) -> None:
    """A task past its time fails with TaskTimeoutError; an engine that cannot stop one says so."""
    with bench_of(make_engine) as bench:
        never, now = bench.gate(), bench.gate()
        now.open()
        run = bench.map(tasks.pass_gate, [now, never, now], task_timeout=0.3, errors="return")
        if bench.traits.stops == "no":
            for _ in range(2):  # asked again it says the same
                _, error = until_error(run)
                equal(type(error), gs.UnsupportedError, "type of the refusal")
            expect("task_timeout" in str(error), f"the refusal does not name task_timeout: {error}")
            expect(bench.name in str(error), f"the refusal does not name the engine: {error}")
            return
        outcomes = list(run)
        never.open()
        equal([outcomes[0], outcomes[2]], ["through"] * 2, "values beside it")
        equal(type(outcomes[1].exception), gs.TaskTimeoutError, "type of the exception")
        expect("task_timeout=0.3" in str(outcomes[1].exception), f"it tells no time: {outcomes[1]}")
        equal(run.report.abandoned, int(bench.traits.stops == "abandon"), "abandoned tasks")


# Functions and what they see


def check_every_kind_of_callable_runs(make_engine: MakeEngine) -> None:
    """Lambdas, closures, partials, methods and callable objects."""
    with bench_of(make_engine) as bench:
        kinds = tasks.async_adders() if bench.traits.coroutines_only else tasks.adders()
        for kind, function in kinds.items():
            equal(list(gs.map(function, [1, 2], on=bench.on)), [2, 3], f"values of a {kind}")


def check_coroutine_functions_run(make_engine: MakeEngine) -> None:
    """Coroutine functions run on every engine; one that runs nothing else says so of others."""
    with bench_of(make_engine) as bench:
        equal(
            list(gs.map(tasks.asquare, range(9), on=bench.on)), [n * n for n in range(9)], "values"
        )
        for kind, function in tasks.async_adders().items():
            equal(list(gs.map(function, [1, 2], on=bench.on)), [2, 3], f"values of a {kind}")
        if bench.traits.coroutines_only:
            _, error = until_error(gs.map(tasks.square, [1, 2], on=bench.on))
            equal(type(error), TypeError, "type of the refusal of a plain function")
            expect("square" in str(error), f"it does not name the function: {error}")


def check_things_of_main_travel(make_engine: MakeEngine) -> None:
    """Functions, globals and classes of `__main__` work, and a value is of the caller's own class."""
    with bench_of(make_engine) as bench:
        main = tasks.main_namespace()
        point = main["Point"]
        function = main["ashift" if bench.traits.coroutines_only else "shift"]
        values = list(gs.map(function, [point(1), point(2)], on=bench.on))
        equal([value.x for value in values], [11, 12], "values")
        expect(
            all(type(value) is point for value in values),
            f"values are not of the caller's class: {values}",
        )


def check_star_spreads_tuples_and_dicts(make_engine: MakeEngine) -> None:
    """With `star` a tuple holds the arguments, a dict the keywords."""
    with bench_of(make_engine) as bench:
        items = [(1, 2), (1,), {"left": 3}, {"right": 1, "left": 4}]
        equal(list(bench.map(tasks.add, items, star=True)), [3, 101, 103, 5], "sums")
        outcomes = list(bench.map(tasks.add, [(1, 2, 3), (1, 2)], star=True, errors="return"))
        equal(type(outcomes[0].exception), TypeError, "type of the error of too many arguments")
        equal(outcomes[1], 3, "the value beside it")


def check_seeds_depend_on_seed_and_index_alone(make_engine: MakeEngine) -> None:
    """`gs.item_seed()` is the same on every engine, whatever the workers, chunks or order."""
    wanted = list(gs.map(tasks.seed_of, range(20), on="serial", seed=5))
    equal(len(set(wanted)), 20, "different seeds of 20 items")
    with bench_of(make_engine) as bench:
        for options in (
            {},
            {"chunksize": 7},
            {"chunksize": 1, "buffersize": 2},
            {"ordered": False},
        ):
            got = list(bench.map(tasks.seed_of, range(20), seed=5, **options))
            if options.get("ordered") is False:
                got.sort(key=wanted.index)
            equal(got, wanted, f"seeds with {options}")
        other = list(bench.map(tasks.seed_of, range(20), seed=6))
        expect(not set(other) & set(wanted), "another seed gave some of the same numbers")
        _, error = until_error(bench.map(tasks.seed_of, range(2)))
        equal(type(error), RuntimeError, "type of the error without a seed")


def check_each_worker_has_one_tool_and_closes_it(make_engine: MakeEngine) -> None:
    """A handle of `gs.per_worker` makes one object a worker, closed at the worker's end."""
    log = _check_tools(make_engine, tasks.Tool, tasks.use_tool)
    made = [line.removeprefix("made ") for line in log if line.startswith("made")]
    closed = [line.removeprefix("closed ") for line in log if line.startswith("closed")]
    equal(sorted(closed), sorted(made), "tools closed at the end")


def check_each_worker_has_one_tool_of_an_async_factory_and_closes_it(
    make_engine: MakeEngine,
) -> None:
    """The same with a factory that is a coroutine function and an object that ends as one."""
    log = _check_tools(make_engine, tasks.make_async_tool, tasks.ause_async_tool)
    made = [line.removeprefix("made ") for line in log if line.startswith("made")]
    closed = [line.removeprefix("closed ") for line in log if line.startswith("closed")]
    equal(sorted(closed), sorted(made), "tools closed at the end")


def check_tasks_see_what_is_shared(make_engine: MakeEngine) -> None:
    """A value of `gs.shared` is there in the function and in items, made once in a worker at most."""
    with bench_of(make_engine) as bench:
        table = gs.shared(tasks.Table({number: number**2 for number in range(50)}))
        for _ in range(2):
            got = list(bench.map(partial(tasks.look_up, table), range(50), chunksize=2))
            equal([value for value, _ in got], [number**2 for number in range(50)], "values")
            made = {name for _, name in got}
            most = bench.workers if bench.traits.pickles else 1
            expect(len(made) <= most, f"{len(made)} copies for {bench.workers} workers")
        items = [(table, number) for number in range(10)]
        got = list(bench.map(tasks.look_up, items, star=True))
        equal([value for value, _ in got], [number**2 for number in range(10)], "values by items")


def check_context_variables_are_each_tasks_own_copy(make_engine: MakeEngine) -> None:
    """Each task has a copy of the caller's context variables: what it sets, nobody else sees.

    Where memory is not shared they do not travel, and hold their default in every task.
    """

    def in_context(bench: Bench) -> None:
        tasks.WORD.set("the caller's")
        seen = set(bench.map(tasks.swap_word, [f"task {number}" for number in range(50)]))
        equal(seen, {"the caller's" if bench.traits.shares_memory else "unset"}, "what tasks saw")
        equal(tasks.WORD.get(), "the caller's", "the caller's own value afterwards")

    with bench_of(make_engine) as bench:
        copy_context().run(in_context, bench)


def check_runs_nest(make_engine: MakeEngine) -> None:
    """A task may run maps of its own."""
    with bench_of(make_engine) as bench:
        got = list(bench.map(tasks.nest, [1, 2, 3, 4], chunksize=1))
        equal(got, [[0] * 4, [1] * 4, [5] * 4, [14] * 4], "sums of squares")


# Source and limits


def check_the_source_is_taken_lazily_in_the_callers_thread(make_engine: MakeEngine) -> None:
    """At most `buffersize` items are inside; the source may be endless; it is pulled in the caller's thread."""
    with bench_of(make_engine) as bench:
        pulled = 0
        threads = set()

        def source() -> Iterator[int]:
            nonlocal pulled
            for number in itertools.count():
                pulled += 1
                threads.add(threading.get_ident())
                yield number

        with bench.map(tasks.square, source(), buffersize=4) as run:
            for given, value in enumerate(itertools.islice(run, 100), 1):
                equal(value, (given - 1) ** 2, "value")
                expect(pulled - given < 4 + 1, f"{pulled - given} items inside, buffersize=4")
        equal(threads, {threading.get_ident()}, "threads that pulled the source")
        before = pulled
        with bench.map(tasks.square, source()) as run:
            next(run)
            far = 100_000  # more than any bound in items
            expect(pulled - before < far, "an endless source was read without bound")


def check_nothing_runs_before_the_first_value_is_asked_for(make_engine: MakeEngine) -> None:
    """`gs.map` itself takes nothing from the source and calls nothing; a run that is forgotten warns."""
    with bench_of(make_engine) as bench:
        pulled = []
        run = bench.map(tasks.same, (pulled.append(number) or number for number in range(3)))  # type: ignore[func-returns-value]
        equal(pulled, [], "items taken before the first next()")
        equal(run.report.items, 0, "items done before the first next()")
        run.close()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bench.map(tasks.same, [1])
        equal(
            [warning.category for warning in caught],
            [RuntimeWarning],
            "warnings of a forgotten run",
        )


def check_a_silent_source_gives_its_item_at_once(make_engine: MakeEngine) -> None:
    """A source that falls silent after an item does not keep that item's value from the consumer."""
    with bench_of(make_engine) as bench:
        list(bench.map(tasks.square, range(8)))  # its workers are up

        def attempt() -> bool:
            got = threading.Event()
            seen = []

            def source() -> Iterator[int]:
                yield 3
                seen.append(
                    got.wait(0.5)
                )  # in the consumer's thread: it has the value by now, or must wait

            for value in bench.map(tasks.square, source()):
                equal(value, 9, "value")
                got.set()
            return seen == [True]

        expect(
            succeeds(attempt), "the value of the first item came only after the source spoke again"
        )


def check_a_silent_asynchronous_source_gives_its_item_at_once(make_engine: MakeEngine) -> None:
    """The same under `async for`, where nothing has to be timed."""

    async def main(bench: Bench) -> None:
        got = asyncio.Event()

        async def source() -> Any:
            yield 3
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await got.wait()
            yield 4

        values = []
        async for value in bench.map(tasks.square, source()):
            values.append(value)
            got.set()
        equal(values, [9, 16], "values")

    with bench_of(make_engine) as bench:
        asyncio.run(main(bench))


def check_a_source_that_raises_gives_what_came_before(make_engine: MakeEngine) -> None:
    """The source's own exception is raised after the values of the items before it."""

    def source() -> Iterator[int]:
        yield from range(3)
        raise LookupError("the source fails")

    with bench_of(make_engine) as bench:
        values, error = until_error(bench.map(tasks.square, source()))
        equal(values, [0, 1, 4], "values before it")
        equal((type(error), str(error)), (LookupError, "the source fails"), "type and message")
        expect("source" in tasks.text_of(error), "its traceback lacks the source's own frame")
        values, _ = until_error(bench.map(tasks.square, source(), errors="skip", ordered=False))
        equal(sorted(values), [0, 1, 4], "values before it, unordered")


def check_starts_keep_to_the_limit(make_engine: MakeEngine) -> None:
    """With `limit` at most so many tasks start in any window of that length."""
    count, per = 2, 0.1
    with bench_of(make_engine) as bench:
        list(bench.map(tasks.square, range(8)))  # its workers are up

        def attempt() -> bool:  # the machine may let a task begin late, and so nearer to the next
            begun = sorted(
                bench.map(tasks.stamp, range(7), limit=gs.Rate(count, per=per), ordered=False)
            )
            gaps = [after - before for before, after in zip(begun, begun[count:], strict=False)]
            return bool(min(gaps) >= per * 0.9 and begun[-1] - begun[0] < per * 3 * 5)

        expect(succeeds(attempt), f"more than {count} tasks started in {per} s, or far fewer")


# Loops, ends and threads


def check_async_for_gives_the_same_and_blocks_no_loop(make_engine: MakeEngine) -> None:
    """`async for` works, with plain and asynchronous inputs, and leaves the loop free for others."""

    async def numbers() -> Any:
        for number in range(50):
            await asyncio.sleep(0)
            yield number

    async def main(bench: Bench) -> None:
        wanted = [number * number for number in range(50)]
        equal([value async for value in bench.map(tasks.square, range(50))], wanted, "values")
        equal(
            [value async for value in bench.map(tasks.square, numbers())],
            wanted,
            "values of an async source",
        )
        begun, gate = bench.gate(), bench.gate()

        async def opener() -> None:
            await begun.await_()
            gate.open()

        opening = asyncio.create_task(opener())
        run = bench.map(tasks.meet, [(begun, gate)])
        equal([value async for value in run], ["met"], "values while the loop has other work")
        await opening
        failing = bench.map(partial(tasks.fail_at_three, "ValueError"), range(9))
        values = []
        try:
            async for value in failing:
                values.append(value)  # noqa: PERF401 - those before the exception are wanted
        except ValueError as error:
            equal(
                (values, str(error)),
                ([0, 1, 2], "three is not allowed"),
                "values, then the exception",
            )
        else:
            expect(condition=False, words="no exception under `async for`")
        async with bench.map(tasks.square, itertools.count()) as run:
            async for value in run:
                if value == 16:  # noqa: PLR2004 - the fifth
                    break

    with bench_of(make_engine) as bench:
        asyncio.run(main(bench))


def check_for_works_inside_a_running_loop(make_engine: MakeEngine) -> None:
    """A plain `for` gives the values also where an event loop runs in this thread."""

    async def main(bench: Bench) -> list[int]:
        return list(bench.map(tasks.square, range(9))) + list(
            gs.map(tasks.asquare, range(9), on=bench.on)
        )

    with bench_of(make_engine) as bench:
        equal(asyncio.run(main(bench)), 2 * [number * number for number in range(9)], "values")


def check_leaving_with_leaves_nothing_running(make_engine: MakeEngine) -> None:
    """After `with` (or `close`) no task runs and none begins; the run has nothing more to give."""
    with bench_of(make_engine) as bench:
        log = bench.log()
        with bench.map(tasks.log_span, itertools.repeat(log), chunksize=2) as run:
            next(run)
        lines = Counter(log.lines)
        expect(lines["begin"] >= 1, "nothing had begun")
        time.sleep(3 * tasks.SPAN_SECONDS)
        equal(Counter(log.lines), lines, "begins and ends of tasks, a while after the run")
        if bench.traits.stops != "kill":  # else what ran may have been killed amid
            equal(lines["end"], lines["begin"], "tasks that ended, of those that began")
        _, error = until_error(run)
        equal(type(error), gs.RunClosedError, "type of the error of a closed run")
        run.close()  # again is fine
        bench.shutdown()
        equal(Counter(log.lines), lines, "tasks after the run was closed")


def check_an_unfinished_loop_leaves_the_engine_usable(make_engine: MakeEngine) -> None:
    """A run that nobody holds any more is let go, without `with` too."""
    with bench_of(make_engine) as bench:
        for _ in range(3):
            for value in bench.map(tasks.square, itertools.count()):
                if value == 4:  # noqa: PLR2004 - the third
                    break
            equal(list(bench.map(tasks.square, range(4))), [0, 1, 4, 9], "values of the next run")


def check_cancel_from_another_thread_ends_the_run(make_engine: MakeEngine) -> None:
    """`cancel()` ends a run from any thread, also one that waits for a task."""
    with bench_of(make_engine) as bench:
        list(
            bench.map(tasks.square, range(8))
        )  # its workers are up, started without a second thread
        run = bench.map(tasks.square, itertools.count())
        some = threading.Event()
        values: list[int] = []
        with helper(partial(some.wait, _PATIENCE_SECONDS), run.cancel):
            try:
                for value in run:
                    values.append(value)
                    some.set()
            except gs.RunCancelledError:
                equal(
                    values, [number * number for number in range(len(values))], "values before it"
                )
            else:
                expect(condition=False, words="the run was not cancelled")
        run.close()
        if bench.traits.in_caller:
            return  # what runs in the caller's thread, nobody else can stop
        begun, never = bench.gate(), bench.gate()
        stuck = bench.map(tasks.meet, [(begun, never)])
        with helper(begun.wait, stuck.cancel):
            _, error = until_error(stuck)
            equal(type(error), gs.RunCancelledError, "type of the error of a cancelled run")
        expect(condition=not never.is_open, words="the task was waited for")
        never.open()


def check_one_engine_serves_several_runs(make_engine: MakeEngine) -> None:
    """An engine is reused, after failures too."""
    with bench_of(make_engine) as bench:
        for length in (3, 200, 0, 3):
            wanted = [number * number for number in range(length)]
            equal(list(bench.map(tasks.square, range(length))), wanted, "values")
            _, error = until_error(bench.map(partial(tasks.fail_at_three, "ValueError"), range(9)))
            equal(type(error), ValueError, "type of the exception between runs")


def check_two_runs_share_an_engine(make_engine: MakeEngine) -> None:
    """Two runs at the same time on one engine do not mix, in one thread or in two."""
    with bench_of(make_engine) as bench:
        squares = bench.map(tasks.square, range(200))
        sums = bench.map(tasks.add, zip(range(200), range(200), strict=True), star=True)
        pairs = list(zip(squares, sums, strict=True))
        equal(pairs, [(number * number, 2 * number) for number in range(200)], "pairs of two runs")
        got: list[list[int]] = []
        with helper(lambda: got.append(list(bench.map(tasks.square, range(300))))):
            here = list(bench.map(tasks.square, range(300)))
        equal(got, [here], "values of a run in another thread")


def check_two_threads_cannot_iterate_one_run(make_engine: MakeEngine) -> None:
    """A run belongs to one thread at a time; another one gets a RuntimeError, and does no harm."""
    with bench_of(make_engine) as bench:
        list(
            bench.map(tasks.square, range(8))
        )  # its workers are up, started without a second thread
        begun, gate = bench.gate(), bench.gate()
        run = bench.map(tasks.meet, [(begun, gate)])
        got: list[list[str]] = []
        with helper(lambda: got.append(list(run))):
            begun.wait()
            _, error = until_error(run)
            gate.open()
            equal(type(error), RuntimeError, "type of the error of a second thread")
        equal(got, [["met"]], "values of the first thread")


def check_the_report_counts(make_engine: MakeEngine) -> None:
    """The report says what was done, by whom, and whether the run came to its end."""
    with bench_of(make_engine) as bench:
        run = bench.map(partial(tasks.fail_at_three, "KeyError"), range(10), errors="skip")
        equal(len(list(run)), 9, "values")
        report = run.report
        equal(
            (report.items, report.succeeded, report.failed), (10, 9, 1), "items, succeeded, failed"
        )
        equal(
            (report.retried, report.abandoned, report.finished),
            (0, 0, True),
            "retried, abandoned, finished",
        )
        equal((report.engine, report.workers), (bench.name, bench.workers), "engine and workers")
        expect(report.seconds > 0 and report.busy_seconds > 0, f"no time was measured: {report}")
        with bench.map(tasks.square, range(10), chunksize=1, buffersize=1) as run:
            next(run)
        expect(not run.report.finished, "a run that was closed early counts as finished")


# The engine itself


def check_traits_are_coherent(make_engine: MakeEngine) -> None:
    """Traits are of the right kind and do not contradict each other; the protocol is there."""
    engine = make_engine()
    try:
        traits = engine.traits
        expect(isinstance(engine, Engine), f"{engine!r} lacks a part of the Engine protocol")
        expect(isinstance(traits, Traits), f"its traits are {traits!r}")
        expect(bool(traits.name), "its traits have no name")
        expect(engine.workers >= 1, f"it says that it has {engine.workers} workers")
        expect(not (traits.pickles and traits.shares_memory), "what is pickled is not shared")
        expect(
            not (traits.in_caller and traits.parallel_python), "one caller's thread is not parallel"
        )
        expect(
            not (traits.in_caller and traits.stops != "no"),
            "the caller's thread cannot stop itself",
        )
        expect(min(traits.start_seconds, traits.handoff_seconds) >= 0, "a cost is below 0")
    finally:
        engine.shutdown()


def check_resize_changes_the_workers(make_engine: MakeEngine) -> None:
    """`resize` changes how many workers there are, or is refused."""
    with bench_of(make_engine) as bench:
        engine = bench.engine
        if not bench.traits.resizable:
            error = error_of(lambda: engine.resize(engine.workers + 1))
            equal(type(error), gs.UnsupportedError, "type of the refusal")
            expect(bench.name in str(error), f"the refusal does not name the engine: {error}")
            return
        before = engine.workers
        for workers in (before + 2, 1, before):
            engine.resize(workers)
            equal(engine.workers, workers, "workers after resize")
            equal(
                list(bench.map(tasks.square, range(50))),
                [n * n for n in range(50)],
                "values after it",
            )
        run = bench.map(tasks.square, range(300), chunksize=1)
        values = [next(run)]
        engine.resize(1)
        values += itertools.islice(run, 100)
        engine.resize(before + 1)
        values += run
        equal(
            values, [number * number for number in range(300)], "values of a run that was resized"
        )
        for wrong, kind in ((0, ValueError), (1.5, TypeError)):
            equal(type(error_of(lambda: engine.resize(wrong))), kind, f"type of resize({wrong})")  # type: ignore[arg-type] # noqa: B023


def check_shutdown_leaves_nothing(make_engine: MakeEngine) -> None:
    """After `shutdown` no thread or process of the engine is there, and it takes no further run."""
    threads, processes = set(threading.enumerate()), set(multiprocessing.active_children())
    with bench_of(make_engine) as bench:
        list(bench.map(tasks.square, range(20)))
        bench.shutdown()
        equal(set(threading.enumerate()) - threads, set(), "threads after shutdown")
        equal(set(multiprocessing.active_children()) - processes, set(), "processes after shutdown")
        run = bench.map(tasks.square, range(3))
        _, error = until_error(run)
        expect(isinstance(error, RuntimeError), f"a run after shutdown ended with {error!r}")
        run.close()
        bench.shutdown()  # again is fine


def check_lanes_keep_news_until_acknowledged(make_engine: MakeEngine) -> None:
    """`poll` says the same again until `ack`, so that an interrupt in between loses nothing."""
    with bench_of(make_engine) as bench, _lane(bench, tasks.square) as lane:
        expect(lane.room() >= 1, "a new lane takes no chunk")
        items = (1, 2, 3)
        lane.send(Chunk(0, items))
        values: dict[int, int] = {}
        until = time.monotonic() + _PATIENCE_SECONDS
        while len(values) < len(items) and time.monotonic() < until:
            _turn(bench, lane)
            news = list(lane.poll())
            equal(list(lane.poll())[: len(news)], news, "news asked for a second time")
            lane.ack(len(news))
            for each in news:
                expect(isinstance(each, Settled), f"{each!r} of a lane that nobody revoked")
                results = each.values if isinstance(each, Settled) else ()
                values.update(
                    zip(range(each.first, each.first + len(items)), results, strict=False)
                )
        equal(values, {0: 1, 1: 4, 2: 9}, "values by index")
        equal(list(lane.poll()), [], "news after all were acknowledged")


def check_lanes_give_back_what_is_revoked(make_engine: MakeEngine) -> None:
    """`revoke` gives back what has not started; each item settles or returns, once."""
    with bench_of(make_engine) as bench, _lane(bench, tasks.pass_gate) as lane:
        gate = bench.gate()
        sent = 0
        while lane.room() > 0 and sent < 40:  # noqa: PLR2004 - more than any lane of a few workers takes
            lane.send(Chunk(sent, (gate,)))
            sent += 1
        lane.revoke()
        gate.open()
        seen: list[int] = []
        until = time.monotonic() + _PATIENCE_SECONDS
        while len(seen) < sent and time.monotonic() < until:
            _turn(bench, lane)
            news = list(lane.poll())
            lane.ack(len(news))
            for each in news:
                count = each.count if isinstance(each, Returned) else len(each.values)
                seen += range(each.first, each.first + count)
        equal(sorted(seen), list(range(sent)), "items that settled or came back")


# The face of concurrent.futures


def check_the_executor_face_gives_results_and_exceptions(make_engine: MakeEngine) -> None:
    """An engine that is an Executor too: `submit` and `map`, results, exceptions, shutdown."""
    with bench_of(make_engine) as bench:
        executor = bench.engine
        if not isinstance(executor, Executor):
            return  # its traits promise no such face
        square, failing = bench.variant(tasks.square), bench.variant(tasks.fail_at_three)
        futures = [executor.submit(square, number) for number in range(30)]
        equal(
            [future.result(_PATIENCE_SECONDS) for future in futures],
            [n * n for n in range(30)],
            "results",
        )
        keyword = executor.submit(bench.variant(tasks.add), 1, right=2)
        equal(keyword.result(_PATIENCE_SECONDS), 3, "result of keyword arguments")
        error = executor.submit(failing, "ValueError", 3).exception(_PATIENCE_SECONDS)
        equal((type(error), str(error)), (ValueError, "three is not allowed"), "exception")
        equal(
            list(executor.map(square, range(30))), [number * number for number in range(30)], "map"
        )
        equal(list(bench.map(tasks.square, range(5))), [0, 1, 4, 9, 16], "a run on the same engine")
        late = [executor.submit(square, number) for number in range(10)]
        executor.shutdown(wait=True)
        equal(
            [future.result(0) for future in late], [n * n for n in range(10)], "results at shutdown"
        )
        expect(
            isinstance(error_of(lambda: executor.submit(square, 1)), RuntimeError),
            "submit after shutdown works",
        )


def check_the_executor_face_cancels_what_waits(make_engine: MakeEngine) -> None:
    """A future that waits can be cancelled, one by one or at shutdown; the others get their result."""
    with bench_of(make_engine) as bench:
        executor = bench.engine
        if not isinstance(executor, Executor):
            return  # its traits promise no such face
        gate = bench.gate()
        waiting = bench.variant(tasks.pass_gate)
        futures = [executor.submit(waiting, gate) for _ in range(4 * bench.workers + 8)]
        started = time.monotonic()
        while not futures[0].running() and time.monotonic() - started < _PATIENCE_SECONDS:
            time.sleep(0.001)  # or the shutdown below may cancel them all, rightly
        expect(futures[-1].cancel(), "the last of many futures cannot be cancelled")
        expect(futures[-1].cancelled(), "a cancelled future does not say so")
        executor.shutdown(wait=False, cancel_futures=True)
        gate.open()
        done, left = wait(futures, _PATIENCE_SECONDS)
        equal(len(left), 0, "futures without an end")
        ends: Counter[str] = Counter()
        for future in done:
            with suppress(CancelledError):
                ends[future.result(0)] += 1
        expect(ends["through"] >= 1, "no future got its result")
        expect(ends["through"] < len(futures), "no future was cancelled")
        bench.shutdown()


CHECKS: tuple[Callable[[MakeEngine], None], ...] = tuple(
    check for name, check in list(globals().items()) if name.startswith("check_")
)
"""All of them, in the order of this file."""


# What several checks share


@contextmanager
def _lane(bench: Bench, function: Callable[..., Any]) -> Iterator[Lane]:
    """Give a lane of the engine, and close it."""
    wakeup = Wakeup()
    lane = bench.engine.open(Job(function=bench.variant(function)), wakeup)
    try:
        yield lane
    finally:
        lane.close()


def _turn(bench: Bench, lane: Lane) -> None:
    """Let a lane get on a little."""
    if bench.traits.in_caller:
        lane.work(0.01)
    else:
        time.sleep(tasks.POLL_SECONDS)


def _check_tools(
    make_engine: MakeEngine, make: Callable[..., Any], use: Callable[..., Any]
) -> list[str]:
    """Have tasks use a worker's tool, and return the log of makings and ends."""
    with bench_of(make_engine) as bench:
        log = bench.log()
        handle = gs.per_worker(partial(make, log))
        used = list(bench.map(partial(use, handle), range(60), chunksize=3))
        by_worker: dict[str, set[str]] = {}
        for worker, name in used:
            by_worker.setdefault(worker, set()).add(name)
        expect(
            all(len(names) == 1 for names in by_worker.values()),
            f"a worker had several tools: {by_worker}",
        )
        names = set().union(*by_worker.values())
        equal(len(names), len(by_worker), "tools for that many workers")
        expect(len(names) <= bench.workers, f"{len(names)} tools for {bench.workers} workers")
        equal(type(error_of(handle)), RuntimeError, "type of the error outside a task")
        bench.shutdown()
        return log.lines


def _check_third(bench: Bench, outcomes: list[Any], kind: type[Exception]) -> None:
    """Ask for a failure of that kind at item 3 alone where things are pickled, and for none elsewhere."""
    failed = [outcome.index for outcome in outcomes if isinstance(outcome, gs.Failure)]
    equal(failed, [3] if bench.traits.pickles else [], "items that failed")
    equal([*outcomes[:3], *outcomes[4:]], [0, 1, 2, 4], "values beside it")
    if bench.traits.pickles:
        error = outcomes[3].exception
        equal(type(error), kind, "type of the exception")
        expect("item 3" in str(error), f"it does not name the item: {error}")
