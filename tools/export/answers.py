"""What ONNX Runtime answers: `answers.py FOLDER` checks every FOLDER/*.onnx by ONNX's own checker, runs it on FOLDER/obs.json and
prints the actions by name as JSON."""

import json
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime

folder = Path(sys.argv[1])
obs = numpy.array(json.loads((folder / "obs.json").read_text()), dtype=numpy.float32)
answers = {}
for path in sorted(folder.glob("*.onnx")):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(None, {"obs": obs})))
    shapes = {value.shape for value in values.values()}
    assert shapes == {values["action"].shape}, (path.name, shapes)
    # One row at a time is the same: nothing depends on the batch.
    alone = session.run(["action"], {"obs": obs[:1]})[0]
    assert numpy.allclose(alone, values["action"][:1], atol=1e-6), path.name
    answers[path.stem] = values["action"].tolist()
print(json.dumps(answers))
