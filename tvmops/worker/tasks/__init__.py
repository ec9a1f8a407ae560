"""What a model is asked, and whether its answer is right: one file per task kind, each a module with

prepare(settings, specs, model, cache_dir) -> (inputs, knowledge)    deterministic; `knowledge` is JSON the check needs
check(settings, knowledge, outputs) -> {"ok", "answer", "expected"}  outputs as a list, in the model's order

Two more where a kind has use for them:

learn(settings, knowledge, outputs) -> more knowledge                what the reference framework answered
draw(settings, knowledge, outputs, cache_dir) -> a Pillow picture    the answer, for people
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

from ..failures import JobError
from . import classification, detection, file_type, orientation, pitch, raw, text, text_detection

PICTURE = "detections.png"

TASKS: Dict[str, Any] = {
    "raw": raw,
    "text": text,
    "text_detection": text_detection,
    "orientation": orientation,
    "file_type": file_type,
    "classification": classification,
    "detection": detection,
    "pitch": pitch,
}


def task_of(workload: Dict[str, Any]) -> Any:
    """The module of the workload's task. Raises JobError (BadInput)."""
    kind = settings_of(workload).get("kind")
    if kind not in TASKS:
        raise JobError("BadInput", f"unknown task kind '{kind}'; known: {', '.join(sorted(TASKS))}")
    return TASKS[kind]


def settings_of(workload: Dict[str, Any]) -> Dict[str, Any]:
    """The workload's task; without one its outputs are only compared."""
    return workload.get("task") or {"kind": "raw"}


def learn(workload: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[Any]) -> Dict[str, Any]:
    """The knowledge together with what the reference framework answered."""
    task = task_of(workload)
    if not hasattr(task, "learn"):
        return knowledge
    return {**knowledge, **task.learn(settings_of(workload), knowledge, outputs)}


def draw(
    workload: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[Any], cache_dir: Path, directory: Path
) -> Optional[str]:
    """Leaves a picture of the answer in `directory`; its file name, or None for a kind that draws none."""
    task = task_of(workload)
    if not hasattr(task, "draw"):
        return None
    task.draw(settings_of(workload), knowledge, outputs, cache_dir).save(str(directory / PICTURE))
    return PICTURE
