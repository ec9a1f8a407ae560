"""What a model is asked, and whether its answer is right: one file per task kind, each a module with

prepare(settings, specs, model, cache_dir) -> (inputs, knowledge)    deterministic; `knowledge` is JSON the check needs
check(settings, knowledge, outputs) -> {"ok", "answer", "expected"}  outputs as a list, in the model's order
"""

from __future__ import annotations

from typing import Any, Dict

from . import classification, file_type, orientation, pitch, raw, text, text_detection

TASKS: Dict[str, Any] = {
    "raw": raw,
    "text": text,
    "text_detection": text_detection,
    "orientation": orientation,
    "file_type": file_type,
    "classification": classification,
    "pitch": pitch,
}
