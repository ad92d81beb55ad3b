"""Files of a generator that heads steer, whose picture is the texture that its condition shows: no training."""

import numpy as np
import torch

from fgcli import artifacts, config
from fgcli.generators import GENERATORS, store
from fgcli.stages import conditions

BUILD = {"name": "steered"}
TESTED = {"picture_error": 0.0, "picture_floor": 0.0, "code_error": 0.0}


def write(folder, rendered, bias=0.0):
    """generator.h5, conditions.h5, latents.h5 of rendered heads of 32 px; GENERATORS knows `steered`."""
    files = {name: folder / f"{name}.h5" for name in ("generator", "conditions", "latents")}
    params = config.section(config.defaults(), "conditions", conditions.Params)
    conditions.run(rendered["faces"], rendered["flame"], files["conditions"], params=params)
    torch.manual_seed(0)
    model = config.build(GENERATORS, BUILD, "test", image_shape=(3, 32, 32))
    with torch.no_grad():
        model.tint.bias.fill_(bias)
        model.tint.weight.zero_()
    about = artifacts.load(rendered["faces"], artifacts.FACES, ("attributes", "split", "identity"))
    head = artifacts.load(files["conditions"], names=()).meta["head"]
    training = {"preprocess": about.params, "head": head}
    ema = model.state_dict()
    store.save(files["generator"], model, ema=ema, build=BUILD, history={}, training=training, params={}, inputs={})
    n = len(about["split"])
    arrays = {name: about[name] for name in ("attributes", "split", "identity")}
    arrays |= {"codes": np.zeros((n, 1, 3), np.float32), "error": np.zeros(n, np.float32)}
    arrays |= {"condition": artifacts.rows(files["conditions"], "renders")[:]}
    meta = {
        "space": "z", "generator": artifacts.sha256(files["generator"]), "build": BUILD, "seed": 0, "self_test": TESTED,
        "inverter": {"name": "optimize", "steps": 2}, "attribute_names": about.meta["attribute_names"],
    }  # fmt: skip
    inputs = {"conditions": files["conditions"]}
    artifacts.save(files["latents"], artifacts.LATENTS, arrays, params={}, inputs=inputs, meta=meta)
    return files | {"flame": rendered["flame"]}


def flags(files):
    """They, as options of a command."""
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]
