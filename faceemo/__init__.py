"""faceemo: from archives of labelled face photos to an emotion classifier that holds on people it has never seen."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceemo.prediction.predict import EmotionModel

__all__ = ["EmotionModel"]


def __getattr__(name: str) -> object:
    """Import on first use: a worker that only reads pictures never imports torch."""
    if name == "EmotionModel":
        from faceemo.prediction.predict import EmotionModel

        return EmotionModel
    raise AttributeError(f"module 'faceemo' has no attribute {name!r}")
