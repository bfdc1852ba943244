"""Weights & Biases: a run of a project, online, or offline for ``wandb sync`` later."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from llmeval.core.errors import UsageError
from llmeval.tracking.entries import Entries
from llmeval.tracking.surroundings import usual_variables

_EXAMPLE = "wandb:PROJECT or wandb:ENTITY/PROJECT"
_INSTALL = "pip install 'llmeval[wandb]'"
_LOGIN = "`wandb login`, or set WANDB_API_KEY; or WANDB_MODE=offline"
_FOREIGN = re.compile(r"[/\\#?%:]")  # what Weights & Biases has in no id
_TIMEOUT = 30.0  # seconds until a server that does not answer counts as down
_VARIABLES = {"WANDB_SILENT": "true"}


def require(where: str) -> None:
    """Raise UsageError where wandb is not installed or has no key, or a project is none."""
    *entity, project = where.split("/")
    if not project or len(entity) > 1 or "" in entity or _FOREIGN.search(project):
        raise UsageError("wandb: no project is named", where="--track", mend=_EXAMPLE)
    if importlib.util.find_spec("wandb") is None:
        raise UsageError("not installed: wandb", where="--track", mend=_INSTALL)
    with usual_variables(_VARIABLES):
        _require_login()


def _require_login() -> None:
    import wandb

    try:
        settings = wandb.setup().settings
        offline = settings.mode in ("offline", "dryrun", "disabled")
        if offline or wandb.login(prompt=False, verify=False):
            return
    except (wandb.Error, ValueError) as error:
        what = f"wandb: {str(error).splitlines()[0]}"
        raise UsageError(what, where="--track", mend=_LOGIN) from error
    raise UsageError("wandb: not logged in", where="--track", mend=_LOGIN)


def log(where: str, entries: Entries) -> str:
    """Log a run to a project; return its address, or its folder where there is no network."""
    import wandb

    *entity, project = where.split("/")
    run_id = _FOREIGN.sub("-", entries.run_id)
    with usual_variables(_VARIABLES):
        try:
            with wandb.init(
                project=project,
                entity=entity[0] if entity else None,
                id=run_id,
                name=entries.run_id,
                resume="allow",
                job_type="evaluation",
                tags=[entries.status],
                config={**entries.params, **entries.tags},
                settings=_settings(),
            ) as run:
                run.summary.update(dict(entries.metrics))
                record = wandb.Artifact(f"record-{run_id}", "llmeval-record")
                for path in entries.files:
                    record.add_file(str(path))
                run.log_artifact(record)
                return str(run.url or run.settings.sync_dir)
        finally:
            wandb.teardown()  # it leaves no process behind


def _settings() -> Any:
    import wandb

    return wandb.Settings(
        init_timeout=_TIMEOUT,
        silent=True,
        console="off",
        x_disable_stats=True,
        x_disable_meta=True,
        x_save_requirements=False,
        disable_git=True,
        disable_code=True,
    )
