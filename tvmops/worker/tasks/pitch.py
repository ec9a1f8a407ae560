"""Task `pitch`: Basic Pitch must name the notes that sound together in a synthetic recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ..failures import JobError
from .common import only_input, setting, verdict

SAMPLE_RATE = 22050
LOWEST_NOTE = 21
NOTES = 88
HARMONICS = 6
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The MIDI numbers in `notes` as decaying tones with overtones, like a plucked string."""
    name, shape = only_input(settings, specs, 3, "float32")
    time = np.arange(shape[1], dtype=np.float64) / SAMPLE_RATE
    notes = setting(settings, "notes")
    sound = sum(_tone(note, time) for note in notes) / len(notes)
    return {name: sound.astype(np.float32).reshape(shape)}, {}


def _tone(note: int, time: np.ndarray) -> np.ndarray:
    frequency = 440.0 * 2.0 ** ((note - 69) / 12.0)
    overtones = [np.sin(2 * np.pi * frequency * k * time) / k**2 for k in range(1, HARMONICS + 1)]
    return np.sum(overtones, axis=0) * np.exp(-time / 1.5) * np.minimum(1.0, time / 0.01)


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The loudest notes over the whole recording must be the ones played. `output` is the index of the note output."""
    index = int(settings.get("output", 0))
    if index >= len(outputs) or outputs[index].shape[-1] != NOTES:
        raise JobError("BadInput", f"output {index} of the model does not have a score for each of {NOTES} notes")
    activity = outputs[index][0].mean(axis=0)
    heard = sorted(int(note) + LOWEST_NOTE for note in np.argsort(-activity)[: len(settings["notes"])])
    played = sorted(settings["notes"])
    return verdict(heard == played, _names(heard), _names(played))


def _names(notes: List[int]) -> str:
    return " ".join(f"{NAMES[note % 12]}{note // 12 - 1}" for note in notes)
