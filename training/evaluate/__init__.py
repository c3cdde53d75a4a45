"""The paper's protocol: models and frames measured, sheets drawn."""
