"""What the files of a run's folder are called, for those who do not load torch, too."""

SETTINGS, STATE, CHECKPOINT, LOG = "settings.json", "state.pt", "checkpoint.safetensors", "log.jsonl"
RUN_FILES = (SETTINGS, STATE, CHECKPOINT, LOG)
