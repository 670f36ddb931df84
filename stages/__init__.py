"""The pipeline's stages, as dvc.yaml runs them: `python -m stages.NAME`."""
