"""Who is measured: how each is called, and where it says what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.serving import bare, questions
from bench.serving.questions import MODEL

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Job:
    """One call of a contender.

    Attributes:
        folder: its own, and fresh.
        given: folder of what was written for all jobs of a work, ``four.jsonl`` and a tokenizer.
        url: the server's, with ``/v1``.
        kind: ``generate`` or ``choice``.
        limit: questions to do, the first of the file.
    """

    folder: Path
    given: Path
    url: str
    kind: str
    limit: int
    connections: int

    @property
    def questions(self) -> Path:
        return self.given / "four.jsonl"


@dataclass(frozen=True, slots=True)
class Found:
    """What a contender says of itself; ``seconds`` are of its request phase, where it tells."""

    n: int
    accuracy: float
    seconds: float | None = None


class Contender:
    """A harness: writes its task, is called, and is read."""

    name: ClassVar[str]
    kinds: ClassVar[Sequence[str]] = ("generate", "choice")

    @property
    def label(self) -> str:
        return self.name

    def expects(self, kind: str) -> str:
        """Return which answers of the mock it should get (see ``expect_accuracy``)."""
        return "chat" if kind == "generate" else kind

    def command(self, job: Job) -> list[str]:
        """Write what the job needs and return the command line, to be run in its folder."""
        raise NotImplementedError

    def environment(self, job: Job) -> dict[str, str]:
        return {}

    def read(self, job: Job) -> Found:
        raise NotImplementedError

    def left(self, job: Job) -> list[Path]:
        """Return the folders of what it leaves on disk."""
        return [job.folder / "out"]


class Bare(Contender):
    name = "bare"

    @property
    def label(self) -> str:
        return "bare aiohttp + JSONL loop"

    def command(self, job: Job) -> list[str]:
        return [
            *(sys.executable, bare.__file__, "--url", job.url, "--kind", job.kind),
            *("--questions", str(job.questions), "--limit", str(job.limit)),
            *("--connections", str(job.connections), "--out", str(job.folder / "out")),
        ]

    def read(self, job: Job) -> Found:
        found = json.loads((job.folder / "out" / "done.json").read_text(encoding="utf-8"))
        return Found(found["n"], found["accuracy"], found["seconds"])


@dataclass(frozen=True)
class Llmeval(Contender):
    """llmeval's command line.

    Attributes:
        text: log-probabilities by text; else the server is asked for the tokens of each question.
    """

    text: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]
        return "llmeval-text" if self.text else "llmeval"

    @property
    def label(self) -> str:
        return "llmeval, tokenizer=text" if self.text else "llmeval"

    @property
    def kinds(self) -> Sequence[str]:  # type: ignore[override]
        return ("choice",) if self.text else ("generate", "choice")

    def command(self, job: Job) -> list[str]:
        questions.write_llmeval_task(job.folder, job.questions, job.kind)
        api = "api=completions" if job.kind == "choice" else "api=chat"
        more = ",tokenizer=text" if self.text else ""
        return [
            *(sys.executable, "-m", "llmeval", "run", "-m", f"openai:{MODEL}"),
            *("--base-url", job.url, "-t", "four", "-a", api + more),
            *("--max-connections", str(job.connections), "--limit", str(job.limit)),
        ]

    def environment(self, job: Job) -> dict[str, str]:
        # standing in the workspace, so this checkout must be found by its own path
        return {"LLMEVAL_HOME": str(job.folder), "PYTHONPATH": str(ROOT)}

    def read(self, job: Job) -> Found:
        file = next((job.folder / "results").glob("*/summary.json"))
        summary = json.loads(file.read_text(encoding="utf-8"))
        metrics = summary["tasks"]["four"]["metrics"]
        metric = metrics["acc" if job.kind == "choice" else "letter_match"]
        return Found(metric["n"], metric["value"], summary["seconds"]["model"])

    def left(self, job: Job) -> list[Path]:
        return [job.folder / "results", job.folder / ".llmeval"]


@dataclass(frozen=True)
class LmEval(Contender):
    """lm-eval's command line, on one of its two models for servers."""

    api: str  # "chat-completions" or "completions"
    python: Path
    version: str

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"lm-eval-{self.api.removesuffix('-completions')}"

    @property
    def label(self) -> str:
        return f"lm-eval {self.version}, local-{self.api}"

    @property
    def kinds(self) -> Sequence[str]:  # type: ignore[override]
        return ("generate", "choice") if self.api == "completions" else ("generate",)

    def expects(self, kind: str) -> str:
        return self.api.removesuffix("-completions") if kind == "generate" else kind

    def command(self, job: Job) -> list[str]:
        questions.write_lm_eval_task(job.folder / "task", job.questions, job.kind)
        path = "/chat/completions" if self.api.startswith("chat") else "/completions"
        model = {
            "model": MODEL,
            "base_url": job.url + path,
            "num_concurrent": job.connections,
            "max_length": 8192,
        }
        if job.kind == "choice":
            model |= {"tokenizer_backend": "huggingface", "tokenizer": job.given / "tokenizer"}
        else:
            model |= {"tokenizer_backend": "none", "tokenized_requests": False}
        return [
            *(str(self.python), "-m", "lm_eval", "run", "--model", f"local-{self.api}"),
            *("--model_args", ",".join(f"{name}={value}" for name, value in model.items())),
            *("--tasks", "four", "--include_path", str(job.folder / "task")),
            *("--limit", str(job.limit), "--output_path", str(job.folder / "out")),
            "--log_samples",
            *(["--apply_chat_template"] if self.api.startswith("chat") else []),
        ]

    def environment(self, job: Job) -> dict[str, str]:
        return {
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(job.given / "datasets"),
            "TOKENIZERS_PARALLELISM": "false",
        }

    def read(self, job: Job) -> Found:
        metrics = ["acc,none" if job.kind == "choice" else "exact_match,letter"]
        return Found(*questions.read_results(job.folder / "out", metrics))


@dataclass(frozen=True)
class Inspect(Contender):
    """Inspect, in an environment of its own."""

    python: Path
    version: str
    name: ClassVar[str] = "inspect"
    kinds: ClassVar[Sequence[str]] = ("generate",)

    @property
    def label(self) -> str:
        return f"Inspect {self.version}"

    def command(self, job: Job) -> list[str]:
        questions.write_inspect_task(job.folder, job.questions)
        return [
            *(str(self.python), "-m", "inspect_ai", "eval", "four.py"),
            *("--model", f"openai-api/mock/{MODEL}", "--model-base-url", job.url),
            *("--display", "none", "--max-connections", str(job.connections)),
            *("--max-samples", str(job.connections), "--no-fail-on-error"),
            *("--temperature", "0", "--max-tokens", "8"),
            *("--limit", str(job.limit), "--log-dir", str(job.folder / "out")),
        ]

    def environment(self, job: Job) -> dict[str, str]:
        return {"MOCK_API_KEY": "none"}

    def read(self, job: Job) -> Found:
        code = (
            "import json, sys; from inspect_ai.log import read_eval_log as read\n"
            "log = read(sys.argv[1], header_only=True)\n"
            "found = log.results.scores[0].metrics['accuracy'].value\n"
            "print(json.dumps([log.results.completed_samples, found]))"
        )
        file = next((job.folder / "out").glob("*.eval"))
        said = subprocess.run(
            [str(self.python), "-c", code, str(file)], capture_output=True, text=True, check=True
        ).stdout
        n, accuracy = json.loads(said.splitlines()[-1])
        return Found(n, accuracy)


def find_lm_eval(python: Path) -> list[Contender] | str:
    """Return lm-eval's two models for servers in an interpreter's environment, or why none."""
    code = "import lm_eval, tenacity, importlib.metadata as m; print(m.version('lm_eval'))"
    version = _ask_version(python, code, "lm-eval[api]")
    if isinstance(version, Absent):
        return version.reason
    return [LmEval(api, python, version) for api in ("chat-completions", "completions")]


def find_inspect(python: Path | None) -> list[Contender] | str:
    """Return Inspect in an interpreter's environment, or why there is none."""
    if python is None:
        return "no --inspect-python"
    code = "import inspect_ai, openai; print(inspect_ai.__version__)"
    version = _ask_version(python, code, "inspect-ai with openai")
    return version.reason if isinstance(version, Absent) else [Inspect(python, version)]


@dataclass(frozen=True)
class Absent:
    reason: str


def _ask_version(python: Path, code: str, what: str) -> str | Absent:
    if not os.access(python, os.X_OK):
        return Absent(f"{python} is not there")
    tried = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    if tried.returncode:
        said = (tried.stderr.strip().splitlines() or [""])[-1]
        return Absent(f"{python} has no {what}: {said}")
    return tried.stdout.strip()
