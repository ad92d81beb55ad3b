"""A photo through the ONNX files of `fg export`, with onnxruntime, numpy and Pillow alone: no fg, no torch.

    fg export out/generator.h5 --format onnx -o face.onnx
    python docs/onnx_face.py face crop.png again.png

crop.png shows a face cut as the notes inside the files say under `cut`; these also have the space and the licences.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

name, photo, output = sys.argv[1:]
encoder, decoder = (
    onnxruntime.InferenceSession(f"{name}-{part}.onnx", providers=["CPUExecutionProvider"])
    for part in ("encoder", "decoder")
)
notes = json.loads(decoder.get_modelmeta().custom_metadata_map["fg"])
_, height, width = notes["image_shape"]
crop = Image.open(photo).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
pixels = np.asarray(crop, np.float32).transpose(2, 0, 1)[None]  # (1, 3, h, w)
(codes,) = encoder.run(None, {"images": pixels / 127.5 - 1})  # (1, l, d)
(images,) = decoder.run(None, {"codes": codes})
again = ((images[0] + 1) * 127.5).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
Image.fromarray(again).save(output)
print(json.dumps({key: notes[key] for key in ("space", "cut", "licences")}, indent=2))
