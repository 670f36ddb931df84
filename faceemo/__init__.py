"""faceemo: from archives of labelled face photos to an emotion classifier that holds on people it has never seen."""

TYPE_CHECKING = False  # not typing's: until that is imported, Ctrl-C would end a command with a traceback
if TYPE_CHECKING:
    from faceemo.prediction.frames import VideoFrames
    from faceemo.prediction.model import EmotionModel

__all__ = ["EmotionModel", "VideoFrames"]
_MODULES = {"EmotionModel": "faceemo.prediction.model", "VideoFrames": "faceemo.prediction.frames"}


def __getattr__(name: str) -> object:
    """Import on first use: a worker that only reads pictures never imports torch."""
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'faceemo' has no attribute {name!r}")
