"""The .dlc of a network in integers."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bilayer.export.formats.onnx_file import OnnxFile
from bilayer.export.formats.stored import quantised
from bilayer.export.inspect import onnx_show
from bilayer.export.integers.qdq import build_qdq
from bilayer.runtime.errors import ParityError


def _scales_and_bytes(tensor):
    return tensor.scales, tensor.bytes


def test_the_dlc_is_the_qdq_model_to_the_bit(integers, tmp_path):
    pytest.importorskip("onnxruntime_qnn", reason="Qualcomm's package makes the .dlc")
    from bilayer.export.convert.run import convert_onnx
    from bilayer.export.dlc.compare import compare_dlc
    from bilayer.export.dlc.read import as_text, describe, read_dlc, stored_tensors

    model = build_qdq(integers)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    convert_onnx(path, tmp_path / "a.dlc")
    dlc = read_dlc(tmp_path / "a.dlc")
    report = compare_dlc(dlc, model)
    assert {steps.bits for steps in report.graph.steps.values()} == {16}
    shown = as_text(dlc)
    assert "(sfixed8, 3 scales)" in shown
    assert "ufixed16" in shown
    assert describe(dlc)["layers"][1]["outputs"][0]["steps"]["bits"] == 16
    found, expected = (
        {one.name: one for one in quantised(tensors) if one.name.endswith(".weight")}
        for tensors in (stored_tensors(dlc), onnx_show.stored_tensors(OnnxFile(model)))
    )
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert (one.dtype, one.symmetric, one.scales, one.bytes) == ("int8", True, *_scales_and_bytes(expected[name]))
    assert describe(dlc)["bytes_by_type"]["int8"] >= sum(one.bytes for one in expected.values())
    assert "| weights " in shown
    for name, change in (("block0_act1.zero", 1), ("block0_conv1.weight", 1)):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(model)
        tensor = next(tensor for tensor in wrong.graph.initializer if tensor.name == name)
        array = numpy_helper.to_array(tensor).copy()
        array.reshape(-1)[:1] -= np.sign(array.reshape(-1)[:1]).astype(array.dtype) * change
        tensor.CopyFrom(numpy_helper.from_array(array, name))
        with pytest.raises(ParityError, match=name.partition(".")[0]):
            compare_dlc(dlc, wrong)
