"""Every path of a project, relative to the folder that holds its dvc.yaml."""

from pathlib import Path

PARAMS_FILE = Path("params.yaml")

SOURCES_FILE = Path("data/sources.yaml")
SAMPLE_FOLDER = Path("data/sample")
LANDMARKS_FOLDER = Path("data/landmarks")
ROWS_FOLDER = Path("data/.rows")  # rows that extraction has finished
SEEN_FOLDER = Path("data/.seen")  # what scan last saw of picture files
FEATURES_FOLDER = Path("data/features")

MODEL_FILE = Path("models/emotion.pt")
INTERRUPTED_MODEL_FILE = Path("models/interrupted.pt")
COMES_ALONG = "faceemo"  # in place of a model's path: the one in the package
ONNX_FILE = Path("models/emotion.onnx")

METRICS_FILE = Path("metrics.json")  # what is compared from run to run
EVALUATION_FILE = Path("evaluation.json")  # everything else
PLOTS_FOLDER = Path("plots")
HISTORY_FILE = PLOTS_FOLDER / "history.csv"
PREDICTIONS_FILE = PLOTS_FOLDER / "predictions.csv"
IMPORTANCE_FILE = PLOTS_FOLDER / "importance.json"
FOLDS_FILE = Path("folds.json")
REPORT_FILE = Path("report.html")
