"""Stands in for PyPI's qai-hub: the documented calls that bench makes, computed here by LiteRT. Times are invented."""

import os
import types
from pathlib import Path

import numpy as np

from bilayer.runtime.engines.litert import open_interpreter

INVENTED_US = 31337
__version__ = "stand-in 0"


class Error(Exception):
    pass


class Device:
    name, os, attributes = "Test Phone", "14", ["os:android", "chipset:qualcomm-snapdragon-8gen2", "vendor:test"]


class Job:
    url = "https://example.invalid/jobs/j1"

    def __init__(self, model, inputs, options):
        self.model, self.inputs, self.options = model, inputs, options

    def wait(self):
        failed = os.environ.get("STAND_IN") == "fail"
        return types.SimpleNamespace(success=not failed, code="FAILED", message="no such layer" if failed else None)

    def download_output_data(self):
        if os.environ.get("STAND_IN") == "no outputs":
            return None
        run = open_interpreter(Path(self.model).read_bytes()).get_signature_runner()
        ((name, samples),) = self.inputs.items()
        assert all(sample.dtype == np.float32 and sample.ndim == 2 for sample in samples)
        found = [run(**{name: sample}) for sample in samples]
        if os.environ.get("STAND_IN") == "wrong":
            found = [{key: value[:, :-1] for key, value in one.items()} for one in found]
        return {key: [one[key] for one in found] for key in found[0]}

    def download_profile(self):
        if os.environ.get("STAND_IN") == "no profile":
            return {}
        if os.environ.get("STAND_IN") == "no times":  # of a job without detail
            return {"execution_summary": {"estimated_inference_time": 0, "first_load_time": 0}, "execution_detail": []}
        summary = {
            "estimated_inference_time": INVENTED_US,
            "all_inference_times": [INVENTED_US, INVENTED_US + 2000, INVENTED_US + 1000],
            "first_load_time": 10 * INVENTED_US,
        }
        layer = {"name": "conv", "type": "CONV_2D", "compute_unit": "GPU", "execution_time": 700}
        return {"execution_summary": summary, "execution_detail": [layer, {"name": "x", "compute_unit": "CPU"}]}


class Client:
    def get_devices(self, name=""):
        if os.environ.get("STAND_IN") == "no token":
            raise Error("Failed to load\nconfiguration file")
        return [Device()] if name == Device.name else []

    def submit_inference_job(self, model, device, inputs, name, options, profile):
        assert isinstance(device, Device)
        assert profile
        assert options in ("--compute_unit gpu", "--compute_unit cpu")
        return Job(model, inputs, options)
