"""The first-run self-test of the `llama` engine: which threads, attention, KV type and batches are faster here.

One thing is changed at a time, and a change must win clearly and twice, so that a busy moment decides nothing. Takes
about BUDGET_S at most: a slow machine reads less for each trial, and tries less (issue #5, item 4).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgemem.engines.llama_binding import VERSION, Binding, LoadOptions, Row, system_info
from edgemem.engines.tuning import Tuning, read_tuning, tuning_path, write_tuning
from edgemem.errors import EngineFailed
from edgemem.machine import allowed_cpus, cgroup_cpus, cpu_model, physical_cores

BUDGET_S = 10.0
CONTEXT_TOKENS = 512
PROMPT_S, PROMPT_TOKENS, WARM_TOKENS, WRITTEN_TOKENS = 1.5, (64, 256), 32, 6
TURN_PROMPT, TURN_WRITTEN = 300, 60
"""What a turn is taken to be when ways are compared: a message and what came with it, and a short answer."""
CLEARLY = 0.95  # of the time of the best so far: what a change may take
BATCHES = (8, 16, 32, 48)

Progress = Callable[[str, int, int], None]


def open_tuned(
    path: Path,
    options: LoadOptions,
    folder: Path,
    *,
    digest: str,
    threads_given: bool = False,
    may_test: bool = True,
    progress: Progress | None = None,
) -> Binding:
    """The model with what suits it best on this machine: as `folder` tells, or found out now and kept there.

    Threads that the person gave are not tried against others. Where nothing is known and the test may not run, which
    writes a file, the options hold.
    """
    file = tuning_file(folder, options, digest or path.name, threads_given)
    if (known := read_tuning(file)) is not None:
        return Binding(path, tuned(options, known))
    if not may_test:
        return Binding(path, options)
    more = (allowed_cpus(), options.threads - 1) if options.threads > 3 else (allowed_cpus(),)
    threads = () if threads_given else more
    binding = Binding(path, replace(options, context_tokens=CONTEXT_TOKENS, sequences=1))
    try:
        found = self_test(binding, options, threads, progress)
        binding.reopen(tuned(options, found))
    except BaseException:
        binding.close()
        raise
    write_tuning(file, found)
    return binding


def tuning_file(folder: Path, options: LoadOptions, model: str, threads_given: bool) -> Path:
    """Where the result for this machine, model, build and wishes is kept."""
    cores = (cpu_model(), allowed_cpus(), physical_cores(), cgroup_cpus())
    asked = (options.threads if threads_given else "", options.device, options.gpu_layers)
    return tuning_path(folder, VERSION, system_info(), model, *cores, *asked)


def tuned(options: LoadOptions, tuning: Tuning) -> LoadOptions:
    """The options with the self-test's choice."""
    return replace(
        options,
        threads=tuning.threads,
        flash_attention=tuning.flash_attention,
        kv_type=tuning.kv_type,
        batch_tokens=tuning.batch_tokens,
        batch_costs=tuning.batch_costs,
    )


def self_test(binding: Binding, options: LoadOptions, threads: Sequence[int], progress: Progress | None) -> Tuning:
    """The best way to run `binding`'s model, starting from `options`. Leaves the binding with a small context.

    `threads` are the numbers to try beside the one of `options`. Raises EngineFailed when not even `options` run.
    """
    started = time.perf_counter()
    if progress:
        progress("first use of this model: testing what is fastest here, about 10 s (--no-tune skips it)", 0, 0)
    best = replace(options, context_tokens=CONTEXT_TOKENS, sequences=1)
    trials = _Trials(binding, _prompt_tokens(binding, best))
    trials.run(best)
    ways: list[dict[str, Any]] = [{"threads": number} for number in threads if number != options.threads]
    ways += [{"flash_attention": True}, {"kv_type": "q8_0"}, {"batch_tokens": 128}]
    for change in ways:
        tried = replace(best, **change)
        # Quantized values need flash attention. Processors were seen to read at 0.3-0.6 of the speed with them, so they
        # are only tried where flash attention has won.
        usable = tried.kv_type == "f16" or tried.flash_attention
        if usable and time.perf_counter() - started < BUDGET_S and trials.wins(tried, best):
            best = tried
    costs = _batch_costs(binding, best, trials.prompt_tokens)
    return Tuning(
        best.threads,
        best.flash_attention,
        best.kv_type,
        best.batch_tokens,
        costs,
        trials.measured,
        time.perf_counter() - started,
    )


def name_of(options: LoadOptions) -> str:
    """One way of running, in words."""
    attention = "flash attention" if options.flash_attention else "plain attention"
    return f"{options.threads} threads, {attention}, KV {options.kv_type}, batches of {options.batch_tokens}"


class _Trials:
    """Runs ways of running, and keeps the best speeds of each: other work on the machine only ever slows down."""

    def __init__(self, binding: Binding, prompt_tokens: int) -> None:
        self._binding, self.prompt_tokens = binding, prompt_tokens
        self.measured: dict[str, tuple[float, float]] = {}

    def wins(self, tried: LoadOptions, best: LoadOptions) -> bool:
        """Whether `tried` is clearly faster, also when both have run three times in turn."""
        try:
            self.run(tried)
        except EngineFailed:  # not every model and build can do everything
            return False
        for _ in range(2):
            if self._turn_s(tried) > CLEARLY * self._turn_s(best):
                return False
            self.run(best)
            self.run(tried)
        return self._turn_s(tried) <= CLEARLY * self._turn_s(best)

    def run(self, options: LoadOptions) -> None:
        prefill, decode = _speed(self._binding, options, self.prompt_tokens)
        before = self.measured.get(name_of(options), (0.0, 0.0))
        self.measured[name_of(options)] = (max(prefill, before[0]), max(decode, before[1]))

    def _turn_s(self, options: LoadOptions) -> float:
        prefill, decode = self.measured[name_of(options)]
        return TURN_PROMPT / prefill + TURN_WRITTEN / decode


def _prompt_tokens(binding: Binding, options: LoadOptions) -> int:
    """As many as are read in PROMPT_S."""
    _speed(binding, options, WARM_TOKENS)  # weights come into memory, processors wake up
    least, most = PROMPT_TOKENS
    return min(most, max(least, int(PROMPT_S * _speed(binding, options, WARM_TOKENS)[0])))


def _speed(binding: Binding, options: LoadOptions, prompt: int) -> tuple[float, float]:
    """Tokens per second of prefill and of decoding."""
    binding.reopen(options)
    started = time.perf_counter()
    binding.decode(_rows(binding, 0, prompt))
    read = time.perf_counter()
    for at in range(WRITTEN_TOKENS):
        binding.decode(_rows(binding, prompt + at, 1))
    return prompt / (read - started), WRITTEN_TOKENS / (time.perf_counter() - read)


def _batch_costs(binding: Binding, options: LoadOptions, prompt: int) -> dict[int, float]:
    """Seconds of a batch over seconds of one token, logits of all rows included: what drafting has to pay."""
    binding.reopen(options)
    binding.decode(_rows(binding, 0, prompt))
    took: dict[int, float] = {}
    for _ in range(5):
        for size in (1, *BATCHES):
            started = time.perf_counter()
            binding.decode([replace(row, wanted=True) for row in _rows(binding, prompt, size)])
            took[size] = min(took.get(size, 1e9), time.perf_counter() - started)
            binding.trim(0, prompt)
    costs = {size: round(took[size] / took[1], 2) for size in BATCHES}
    return {size: max(costs[less] for less in BATCHES if less <= size) for size in BATCHES}  # more never costs less


def _rows(binding: Binding, start: int, count: int) -> list[Row]:
    """Any tokens will do; the last one's logits are wanted, as in use."""
    last = start + count - 1
    return [Row((7 + 31 * at) % binding.vocabulary, at, 0, wanted=at == last) for at in range(start, start + count)]
